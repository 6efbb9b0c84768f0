"""A thousand hostile inputs at the front door, each with an outcome that was decided beforehand.

pytest -s -m slow tests/security/test_thousand_inputs.py    (prints the table of outcomes)
"""

from __future__ import annotations

import io
import itertools
import json
import random
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from front import SECRET, MakeToken, bearer
from served import BASE_MODEL, World
from test_credentials import CLAIMS, FORGED, encoded

REFUSED = frozenset({400, 413, 415, 422})
UNKNOWN = frozenset({401})
HARMLESS = REFUSED | {201, 404}
"""Where the platform may also take an input, since it takes it apart safely."""


@dataclass(frozen=True)
class Input:
    """One request, and the statuses that may answer it."""

    kind: str
    method: str
    path: str
    allowed: frozenset[int]
    request: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] | None = None


HOSTS = [
    *("127.0.0.1", "localhost.", "[::1]", "[::ffff:10.0.0.1]", "0x7f000001", "2130706433"),
    *("169.254.169.254", "10.0.0.1", "192.168.0.1", "[fd00::1]", "[64:ff9b::a00:1]", "0"),
]
SCHEMES = ["http", "git", "ext::sh -c id #", "ftp", "gopher", "data", "javascript", "ssh+x", ""]


def urls() -> Iterator[Input]:
    """Addresses of repositories and receivers that lead inside, run programs or hide secrets."""
    wrong = [f"{scheme}://{host}/x.git" for scheme, host in itertools.product(SCHEMES, HOSTS)]
    wrong += [f"https://user:{word}@{host}/x" for word in ("p", "%00", "a:b") for host in HOSTS]
    wrong += ["--upload-pack=id", "-oProxyCommand=id", "ssh://-oProxyCommand=id/x", "/etc", "/proc"]
    wrong += [
        "file:///etc/passwd",
        "/../../etc",
        "https://",
        "x" * 3000,
    ]
    wrong += [
        f"https://host{mark}/x" for mark in ("\n", "\t", " ", "\0", "\r\nX: y", "\u202e", "`id`")
    ]
    for url in wrong:
        yield Input("source URL", "POST", "/data-sources", REFUSED, {"json": {"url": url}})
        body = {"url": url, "events": ["*"]}
        yield Input("webhook URL", "POST", "/webhooks", REFUSED, {"json": body})
    for host in HOSTS[:4] + HOSTS[6:11]:
        body = {"url": f"https://{host.rstrip('.')}/x", "events": ["*"]}
        allowed = REFUSED if host != "localhost." else HARMLESS
        yield Input("webhook URL", "POST", "/webhooks", allowed, {"json": body})


def patterns(repository: Path) -> Iterator[Input]:
    """Patterns that are slow, endless, or no patterns."""
    words = ["a" * 501, "", "*" * 500, "**/" * 166, "[" * 400, "[!" * 200, "(a+)+$", "\\" * 300]
    words += ["{" * 400, "a**b" * 100, "/../" * 100, "\0", "!", "#", " ", "\u202e", "[a-\\"]
    words += ["*a" * 200 + "b", "?" * 500, "[[:alpha:]" * 40, "**" * 250]
    for word, name in itertools.product(words, ("includePatterns", "excludePatterns")):
        body = {"url": str(repository), name: [word]}
        yield Input("pattern", "POST", "/data-sources", HARMLESS, {"json": body})
    body = {"url": str(repository), "includePatterns": ["a"] * 501}
    yield Input("pattern", "POST", "/data-sources", REFUSED, {"json": body})


def bodies(dice: random.Random) -> Iterator[Input]:
    """JSON that is deep, large, doubled, cut, or of other types than declared."""
    values: list[Any] = [None, True, -1, 1e308, 10**40, "", "\0", "x" * 70_000, [], {}, [[]] * 99]
    shapes = {
        "/v1/fine-tune": {"projectName": "p", "datasetId": "ds-1", "baseModel": BASE_MODEL},
        "/datasets/generate": {"name": "d", "sourceIds": ["src-1"]},
        "/keys": {"name": "k", "scopes": ["jobs:read"]},
        "/webhooks": {"url": "https://a.example/", "events": ["*"]},
    }
    for (path, shape), value in itertools.product(shapes.items(), values):
        for name in (*shape, "trust_remote_code", "__proto__"):
            if path == "/keys" and name == "name" and value == "x" * 70_000:
                continue
            body = shape | {name: value}
            yield Input("JSON value", "POST", path, HARMLESS, {"json": body})
    texts = [b"{", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe", b"null", b"1", b'"x"', b"NaN", b""]
    texts += [b'{"name":"a","name":"b"}', b"{}" * 2, b'{"\\ud800":1}', b"x" * (2 << 20)]
    kinds = ["application/json", "text/plain", "application/xml", "multipart/form-data", ""]
    for path, text, kind in itertools.product(shapes, texts, kinds):
        request = {"content": text, "headers": {"Content-Type": kind} if kind else {}}
        yield Input("JSON text", "POST", path, REFUSED, request)
    for _ in range(60):
        text = json.dumps(shapes["/keys"]).encode()
        place = dice.randrange(len(text))
        broken = text[:place] + bytes([dice.randrange(256)]) + text[place + 1 :]
        headers = {"Content-Type": "application/json"}
        request = {"content": broken, "headers": headers}
        yield Input("JSON noise", "POST", "/keys", HARMLESS, request)


def uploads(dice: random.Random) -> Iterator[Input]:
    """Archives that climb, link, explode or are no archives; names of all kinds."""
    names = [
        "../x.py",
        "/etc/x.py",
        "..\\x.py",
        "C:\\x.py",
        "a/../../x.py",
        "\0",
        "x" * 5000,
        "CON",
    ]
    names += [
        ".",
        "..",
        "a//b.py",
        "-rf",
        "~/x.py",
        "%2e%2e/x.py",
        "\u202ex.py",
        "",
        " ",
        ".git/HEAD",
    ]
    for name in names:
        yield upload("file name", name, b"x = 1\n")
        yield upload("zip climbs", "a.zip", zipped({name or "e": b"x = 1\n"}))
        yield upload("tar climbs", "a.tar.gz", tarred(name or "e"))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"?"):
        for target in ("/etc/passwd", "../../x", "a"):
            yield upload("tar links", "a.tar.gz", tarred("l", kind, target))
    yield upload("zip bomb", "a.zip", zipped({f"{n}.txt": bytes(10 << 20) for n in range(3)}))
    yield upload("zip bomb", "a.zip", zipped({f"{n}.py": b"" for n in range(20_000)}))
    for _ in range(40):
        whole = bytearray(zipped({"a.py": b"x = 1\n" * 50}))
        for _ in range(dice.randint(1, 8)):
            whole[dice.randrange(len(whole))] = dice.randrange(256)
        yield upload("zip noise", "a.zip", bytes(whole))
        yield upload("tar noise", "a.tar.gz", dice.randbytes(dice.randint(0, 500)))


def upload(kind: str, name: str, content: bytes) -> Input:
    request = {"files": [("files", (name, content))]}
    return Input(kind, "POST", "/data-sources", HARMLESS, request)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 6 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"x = 1\n"[: info.size]))
    return buffer.getvalue()


def tokens(dice: random.Random) -> Iterator[Input]:
    """Tokens that are unsigned, confused, stale, meant for others, cut or bent."""
    for name, make in FORGED.items():
        text = make()
        if text.isascii():
            yield Input(f"JWT {name}", "GET", "/keys", UNKNOWN, headers=bearer(text))
    good = encoded(CLAIMS)
    head, claims, signature = good.split(".")
    for place in range(0, len(good), max(1, len(good) // 100)):
        cut = good[:place]
        yield Input("JWT cut", "GET", "/keys", UNKNOWN, headers=bearer(cut or "x"))
    for _ in range(100):
        part = dice.choice([head, claims])
        place = dice.randrange(len(part) - 2)
        letter = "A" if part[place] != "A" else "B"
        bent = good.replace(part, part[:place] + letter + part[place + 1 :])
        yield Input("JWT bent", "GET", "/keys", UNKNOWN, headers=bearer(bent))
    assert signature
    for text in ("null", "undefined", "[object Object]", "' OR 1=1 --", "*", "admin", SECRET):
        yield Input("JWT none", "GET", "/keys", UNKNOWN, headers=bearer(text))
        yield Input("key none", "GET", "/keys", UNKNOWN, headers={"X-API-Key": text})
    for _ in range(40):
        text = f"aif_{dice.randrange(10**26):026}.{'x' * 43}"
        yield Input("key guessed", "GET", "/keys", UNKNOWN, headers={"X-API-Key": text})


def paths() -> Iterator[Input]:
    """Identifiers that climb, inject or are none."""
    words = ["..%2f..%2fetc", "job-1%00", "job-1'--", "%2e%2e", "job-1;ls", "*", "a" * 300, "job-é"]
    routes = ["/jobs/{}", "/jobs/{}/logs", "/datasets/{}", "/data-sources/{}/files", "/models/{}"]
    routes += ["/artifacts/{}/content", "/webhooks/{}", "/jobs/{}/events"]
    missing = frozenset({400, 404, 405, 422})
    for route, word in itertools.product(routes, words):
        yield Input("path", "GET", route.format(word), missing)


def all_inputs(repository: Path) -> list[Input]:
    dice = random.Random(8)
    return [
        *urls(),
        *patterns(repository),
        *bodies(dice),
        *uploads(dice),
        *tokens(dice),
        *paths(),
    ]


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_each_hostile_input_has_the_outcome_that_was_decided(
    front: httpx.Client,
    token: MakeToken,
    production: World,
    make_repository: Any,
    tmp_path: Path,
    every: int,
) -> None:
    repository = make_repository({"a.py": "x = 1\n"})
    outside = {path for path in tmp_path.iterdir() if path != production.services.settings.home}
    admin = bearer(token("admin"))
    outcomes: dict[str, Counter[int]] = {}
    inputs = all_inputs(repository)
    chosen = inputs if every == 1 else random.Random(every).sample(inputs, len(inputs) // every)
    for given in chosen:
        request = dict(given.request)
        headers = (admin if given.headers is None else given.headers) | request.pop("headers", {})
        try:
            answer = front.request(given.method, given.path, headers=headers, **request)
        except httpx.InvalidURL:
            continue
        outcomes.setdefault(given.kind, Counter())[answer.status_code] += 1
        assert answer.status_code in given.allowed, (given, answer.text[:300])
        if answer.status_code >= 400:
            assert answer.json()["detail"].keys() >= {"code", "requestId"}
            assert SECRET not in answer.text
    tell(outcomes)
    assert len(inputs) >= 1000
    assert front.get("/health").json()["checks"]["database"] is True
    # Nothing was written beside the platform's home, and no file of the machine was taken in.
    assert set(tmp_path.iterdir()) - {production.services.settings.home} == outside
    kept = production.services.settings.home / "storage"
    assert not any(path.is_symlink() for path in kept.rglob("*"))
    assert not any(b"root:x:0" in path.read_bytes() for path in kept.rglob("*") if path.is_file())


def tell(outcomes: dict[str, Counter[int]]) -> None:
    for kind, found in sorted(outcomes.items()):
        listed = ", ".join(f"{status}: {number}" for status, number in sorted(found.items()))
        print(f"{kind:24} {sum(found.values()):5}   {listed}")
    print(f"{'in all':24} {sum(map(Counter.total, outcomes.values())):5}")
