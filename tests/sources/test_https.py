"""Repositories over HTTPS: real git, real TLS, a server on this machine."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from https_server import git_over_https
from repositories import commit, git, repository

from aiforge.errors import AIForgeError
from aiforge.sources.sync import Credentials, SyncResult, read_manifest, sync_git
from aiforge.storage import Storage

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificate with openssl"
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return repository(tmp_path / "served" / "project", {"a.py": "x = 1\n", "b.md": "# B\n"})


@pytest.fixture
def port(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with git_over_https(project.parent, tmp_path) as (number, certificate):
        monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
        yield number


def sync(storage: Storage, url: str, **options: Any) -> SyncResult:
    return sync_git(storage, "src-1", url, **({"allowed_hosts": ["localhost"]} | options))


def test_a_repository_is_fetched_and_updated(storage: Storage, project: Path, port: int) -> None:
    url = f"https://localhost:{port}/project/.git"
    first = sync(storage, url)
    assert (first.file_count, first.revision[:40]) == (2, git(project, "rev-parse", "HEAD"))
    commit(project, {"c.py": "y = 2\n"})
    second = sync(storage, url)
    assert second.file_count == 3
    assert read_manifest(storage, second.snapshot).blobs_read == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("absent", "no git repository"),
        ("moved/project/.git", "redirects are not followed"),
        ("private/project/.git", "private"),
    ],
)
def test_what_the_server_refuses_is_said(storage: Storage, port: int, path: str, told: str) -> None:
    with pytest.raises(AIForgeError, match=told) as failed:
        sync(storage, f"https://localhost:{port}/{path}")
    assert failed.value.code == "source_unreachable"
    assert "\n" not in failed.value.message
    assert storage.names("sources") == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    storage: Storage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_SSL_CAINFO")
    with pytest.raises(AIForgeError, match=r"certificate|SSL") as failed:
        sync(storage, f"https://localhost:{port}/project/.git")
    assert failed.value.code == "source_unreachable"


def test_private_addresses_need_the_operators_word(storage: Storage, port: int) -> None:
    with pytest.raises(AIForgeError) as refused:
        sync(storage, f"https://localhost:{port}/project/.git", allowed_hosts=[])
    assert refused.value.code == "url_not_allowed"


def test_git_connects_to_the_address_that_was_checked(
    storage: Storage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_host: str, number: int, **_: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.2", number))]

    # Git's own look-up of localhost would reach the server; the pinned address has none.
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(AIForgeError) as failed:
        sync(storage, f"https://localhost:{port}/project/.git")
    assert failed.value.code == "source_unreachable"


def test_a_token_opens_its_host_and_stays_out_of_sight(
    storage: Storage, project: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://localhost:{port}/private/project/.git"
    monkeypatch.setenv("FORGE_TOKEN", "t0ken")
    with pytest.raises(AIForgeError, match="AIFORGE_GIT_TOKENS"):
        sync(storage, url)
    elsewhere = Credentials(tokens={"example.org": "FORGE_TOKEN"})
    with pytest.raises(AIForgeError, match="private"):
        sync(storage, url, credentials=elsewhere)
    for host in ("localhost", f"localhost:{port}"):
        read = sync(storage, url, credentials=Credentials(tokens={host: "FORGE_TOKEN"}))
        assert read.file_count == 2
    monkeypatch.setenv("FORGE_TOKEN", "somebody:wrong")
    with pytest.raises(AIForgeError, match="private"):
        sync(storage, url, credentials=Credentials(tokens={"localhost": "FORGE_TOKEN"}))
    kept = [path for path in Path(storage.root).rglob("*") if path.is_file()]
    assert kept
    assert not any(b"t0ken" in path.read_bytes() for path in kept)
    monkeypatch.delenv("FORGE_TOKEN")
    with pytest.raises(AIForgeError) as missing:
        sync(storage, url, credentials=Credentials(tokens={"localhost": "FORGE_TOKEN"}))
    assert missing.value.code == "token_missing"
