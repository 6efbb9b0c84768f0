"""No secret that was planted anywhere is found in what the platform keeps, says or shows."""

from __future__ import annotations

import io
import logging
import secrets as random_secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI
from front import SECRET, MakeToken, bearer
from hypothesis import given
from hypothesis import strategies as st
from served import World, add_source, local_client

from aiforge import redaction
from aiforge.redaction import MASK, redact, redact_all
from aiforge.schemas.runs import LogLine
from aiforge.services import artifacts
from aiforge.state import runs
from aiforge.state.schema import now

FORMS = {
    "api key": f"aif_{'0' * 26}.{'s3cr3t' * 8}",
    "webhook secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXMzY3IzdA",
    "github": "ghp_s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr",
    "gitlab": "glpat-s3cr3ts3cr3ts3cr3ts3cr3t",
    "hub": "hf_s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr",
    "model api": "sk-s3cr3ts3cr3ts3cr3ts3cr3t",
    "cloud": "AKIAS3CR3TS3CR3TS3CR",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\n-----END RSA PRIVATE KEY-----",
    "cut private key": "-----BEGIN PRIVATE KEY-----\ns3cr3t",
    "url with password": "https://user:s3cr3t@host/x.git",
    "url with token": "https://s3cr3t@host/x.git",
    "database": "postgresql+psycopg://aiforge:s3cr3t@db:5432/aiforge",
    "header": "Authorization: Bearer s3cr3t-s3cr3t",
    "header in a mapping": "{'X-API-Key': 's3cr3t-s3cr3t'}",
    "query": "GET /x?a=1&access_token=s3cr3t&b=2",
}


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_learnt", frozenset())
    monkeypatch.setattr(redaction, "_exact", None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", ["{}", "cloning {} failed", '{{"url": "{}"}}', "a\n{}\nb"])
def test_what_only_secrets_look_like_is_taken_out(form: str, around: str) -> None:
    shown = redact(around.format(FORMS[form]))

    assert "s3cr3t" not in shown.lower()
    assert MASK in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Step 100/1000, Loss: 2.5, tokens/s: 3,043",
        "https://github.com/owner/repository.git at 4f2d3a9c1b",
        "ssh://git@host/x.git",
        "git@github.com:owner/repository.git",
        "job-01k8zj4m7q9v2x5c8b1n4d6f0h waits for 2 CPUs",
        "mail alice@example.org, http://127.0.0.1:8000/jobs?limit=5&offset=10",
        "The token count is 17; key: value; sk-1",
        "",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@given(st.text(), st.text(st.characters(codec="utf-8"), min_size=8), st.text())
def test_a_learnt_secret_is_found_wherever_it_stands(before: str, secret: str, after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_learnt", frozenset())
        patch.setattr(redaction, "_exact", None)
        redaction.learn([secret, secret[:8], None, ""])

        assert secret not in redact(f"{before}{secret}{after}").replace(MASK, "\0")


def test_the_environment_tells_what_is_secret() -> None:
    redaction.learn_environment(
        {
            "AWS_SECRET_ACCESS_KEY": "plant-aws-0",
            "HF_TOKEN": "plant-hub-0",
            "AIFORGE_JWT_SECRET_FILE": "/run/secrets/jwt",
            "TOKENIZERS_PARALLELISM": "falsefalse",
            "HOME": "/home/someone",
            "MY_PASSWORD": "short",
        }
    )

    assert redact("plant-aws-0 plant-hub-0") == f"{MASK} {MASK}"
    assert redact("/run/secrets/jwt falsefalse /home/someone short").startswith("/run/secrets/jwt")
    assert redact_all({"a": ["plant-aws-0", 1, None], "b": ("x",)}) == {
        "a": [MASK, 1, None],
        "b": ["x"],
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What all loggers of this process write."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    before = logging.getLogRecordFactory()
    redaction.install()
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_logs_hold_no_secret_in_message_arguments_or_trace(log: io.StringIO) -> None:
    logger = logging.getLogger("anything")
    logger.warning("cannot read %s", FORMS["url with password"])
    try:
        raise ValueError(f"sent {FORMS['api key']}")
    except ValueError:
        logger.exception("it failed with %s", FORMS["header"])

    written = log.getvalue()
    assert "s3cr3t" not in written
    assert "Traceback" in written
    assert written.count(MASK) == 3


def planted() -> str:
    return f"plant-{random_secrets.token_hex(12)}"


def everything_below(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_nothing_planted_is_found_in_state_storage_logs_or_answers(
    production: World,
    app: FastAPI,
    token: MakeToken,
    log: io.StringIO,
    make_repository: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_url, in_error, in_env = planted(), planted(), planted()
    monkeypatch.setenv("PRIVATE_HOST_TOKEN", in_env)
    redaction.learn_environment()
    redaction.learn(production.services.settings.secrets)
    said: list[str] = []
    with local_client(app) as client:
        client.headers.update(bearer(token("admin")))
        client.event_hooks["response"] = [lambda answer: said.append(answer.read().decode())]
        url = f"https://someone:{in_url}@host.example/x.git"
        for wrong in (url, url.replace("host", "ho st"), url.replace("https", "ftp")):
            assert client.post("/data-sources", json={"url": wrong}).status_code == 400
        key = client.post("/keys", json={"name": "k", "scopes": ["jobs:read"]})
        said.clear()
        wrong_key = key.json()["key"][:-4] + "0000"
        assert client.get("/jobs", headers=bearer(wrong_key)).status_code == 401
        source = add_source(client, production, make_repository({"a.py": "x = 1\n"}))
        fail_with(production, client, source, f"remote: {url} and {in_env}", in_error)
        client.get(f"/data-sources/{source}")
        client.get("/audit")
    kept = everything_below(production.services.settings.home)
    shown = "\n".join([*said, log.getvalue()])
    for secret in (in_url, in_env, SECRET, key.json()["key"].partition(".")[2], in_error):
        assert secret.encode() not in kept, secret
        assert secret not in shown, secret
    assert MASK.encode() in kept


def fail_with(world: World, client: httpx.Client, source: str, error: str, in_error: str) -> None:
    """A sync logs, keeps an artifact and fails, each with secrets in its words."""
    assert client.post(f"/data-sources/{source}/sync").status_code == 200
    state, storage = world.services.state, world.services.storage
    run = world.start(source)
    header = f"Authorization: Bearer {in_error}"
    line = LogLine(sequence=0, at=now(), level="info", message=f"{error} {header}")
    state.call_sync(runs.record, run.id, run.attempt, runs.Report(logs=[line]))
    artifacts.keep(
        state, storage, run.id, "log", "said", f"{error}\n{header}".encode(), "text/plain"
    )
    logging.getLogger("aiforge").error("%s %s", error, header)
    world.fail(run, f"{error} {header}")


def test_errors_that_cross_the_door_are_redacted(front: httpx.Client, token: MakeToken) -> None:
    text = f"aif_{'0' * 26}.{'x' * 43}"
    answer = front.get(f"/jobs/{text}", headers=bearer(token("jobs:read")))
    assert text not in answer.text


def test_no_command_line_bears_a_secret(tmp_path: Path) -> None:
    """Git is told a token by a file that is its owner's alone, never by an argument."""
    from aiforge.sources.credentials import Credentials
    from aiforge.sources.remote import parse_remote

    secret = planted()
    remote = parse_remote("https://host.example/x.git", [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TOKEN", secret)
        program = Credentials(tokens={"host.example": "FORGE_TOKEN"}).askpass(remote, tmp_path)
    process = subprocess.Popen(
        [str(program), "Password for host"], stdout=subprocess.PIPE, text=True
    )
    command = " ".join([str(program), *psutil.Process().cmdline(), *sys.argv])
    answered, _ = process.communicate()

    assert secret in answered
    assert secret not in command
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
