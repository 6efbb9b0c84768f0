"""A platform in production: keys, the road to a trained model, and webhooks that survive a kill.

It takes a minute or two: ``pytest -m slow tests/e2e/test_production.py``
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from harness import Platform, aiforge, free_port
from prose import NOUNS, module
from receiver import Receiver
from served import serve

from aiforge.client import AIForge
from aiforge.errors import Forbidden, NotFound
from aiforge.runtime import cluster

RAFT = {"chunk_tokens": 120, "context_tokens": 512, "distractors": 1}
TRAINING = {"epochs": 1, "rank": 8, "batch_size": 2, "max_seq_length": 512, "num_workers": 1}
PATIENCE = 300.0


@pytest.fixture
def signing_key(tmp_path: Path) -> str:
    path = tmp_path / "jwt.key"
    path.write_text(secrets.token_urlsafe(48))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def production(
    tmp_path: Path, signing_key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    for name, value in {
        "AIFORGE_ENV": "production",
        "AIFORGE_JWT_SECRET_FILE": signing_key,
        "AIFORGE_RAY_ADDRESS": "local",
        "AIFORGE_SOURCE_ROOTS": json.dumps([str(tmp_path)]),
        "AIFORGE_WEBHOOK_TRUSTED_HOSTS": '["127.0.0.1"]',
        "AIFORGE_RATE_LIMIT_READS": "100000",
    }.items():
        monkeypatch.setenv(name, value)
    home, port = tmp_path / "home", free_port()
    done = aiforge("up", "--detach", "--json", home=home, port=port)
    assert done.returncode == 0, done.stderr
    platform = Platform(home, port, json.loads(done.stdout))
    info = cluster.running(platform.settings)
    assert info is not None
    yield platform
    assert platform.run("down").returncode == 0
    left = [process.cmdline() for process in cluster.processes_of(info.id, info.pid)]
    assert left == []


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    found = Receiver()
    for url in serve(found):
        yield found, url


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_key_of_one_project_trains_a_model_and_every_event_reaches_the_webhook(
    production: Platform,
    receiver: tuple[Receiver, str],
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, hook_url = receiver
    repository = make_repository({f"pkg/{name}.py": module(name) for name in NOUNS})
    assert httpx.get(f"{production.url}/jobs").status_code == 401
    token = json.loads(_say(production, "key", "token", "--scope", "admin"))["token"]
    monkeypatch.setenv("AIFORGE_API_KEY", token)
    own, other = (_key(production, project) for project in ("mine", "theirs"))

    with (
        AIForge(production.url, api_key=token) as operator,
        AIForge(production.url, api_key=own) as forge,
        AIForge(production.url, api_key=other) as stranger,
    ):
        hook = operator.webhooks.create(f"{hook_url}/hook", ["*"])
        heard.secrets.append(hook.secret)
        source = forge.sources.create_local(str(repository)).wait()
        dataset = forge.datasets.generate(
            "mine", [source.id], max_examples=60, base_model="forge-tiny", raft=RAFT
        ).wait()
        job = forge.jobs.fine_tune("mine", dataset.id, "forge-tiny", method="lora", **TRAINING)
        with pytest.raises(NotFound):
            stranger.jobs.get(job.id)
        with pytest.raises(Forbidden):
            stranger.jobs.fine_tune("mine", dataset.id, "forge-tiny")
        _kill_dispatcher(production)
        finished = forge.jobs.wait(job.id, timeout=PATIENCE)
        assert finished.status == "completed", finished.error
        wanted = _events_since(production, token, hook.id)
        assert {"source.synced", "dataset.ready", "job.completed"} <= {*wanted.values()}
        _until_heard(heard, wanted)
        trail = {
            (one.principal_name, one.action, one.outcome) for one in operator.audit.list(limit=200)
        }

    assert heard.refused == []
    assert ("ci of mine", "POST /v1/fine-tune", "done") in trail
    assert {row for row in trail if row[0] == "ci of theirs"} == {
        ("ci of theirs", "POST /v1/fine-tune", "refused")
    }
    _nothing_tells(production, [token, own, other], kept=[hook.secret])


def _say(platform: Platform, *arguments: str) -> str:
    done = platform.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return done.stdout


def _key(platform: Platform, project: str) -> str:
    scopes = [part for name in ("sources", "datasets", "jobs") for part in ("-s", f"{name}:*")]
    made = _say(platform, "key", "create", f"ci of {project}", *scopes, "--project", project)
    return str(json.loads(made)["key"])


def _kill_dispatcher(platform: Platform) -> None:
    info = cluster.running(platform.settings)
    assert info is not None
    for process in cluster.processes_of(info.id, info.pid):
        if " ".join(process.cmdline()).startswith("ray::DispatcherActor"):
            process.kill()
            psutil.wait_procs([process], timeout=10)
            return
    raise AssertionError("there is no dispatcher")


def _events_since(platform: Platform, token: str, hook_id: str) -> dict[int, str]:
    """Types of all events by number that came after the webhook was there."""
    found: dict[int, str] = {}
    there = False
    headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": "0"}
    with httpx.stream("GET", f"{platform.url}/events", headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if there:
                    found[event["sequence"]] = event["type"]
                there = there or event["resourceId"] == hook_id
            elif line.startswith(":"):
                break
    return found


def _until_heard(heard: Receiver, wanted: Mapping[int, str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while missing := {*wanted} - {content["data"]["sequence"] for content in heard.seen}:
        assert time.monotonic() < deadline, [wanted[number] for number in missing]
        time.sleep(0.2)


def _nothing_tells(platform: Platform, values: list[str], kept: list[str]) -> None:
    """No file holds a credential in the clear, and only the state those that it must send."""
    logs = Path(platform.up["log"]).parent
    for path in (*platform.home.rglob("*"), *logs.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            secret = values if path.is_relative_to(platform.home / "state") else [*values, *kept]
            told = [value[:8] for value in secret if value.encode() in content]
            assert not told, f"{path} tells {told}"
