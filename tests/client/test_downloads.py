"""Files from the server: whole, resumed, and never under their name before they are right."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import World

from aiforge.client import AIForge, AsyncAIForge, RetryPolicy, ServerUnreachable
from aiforge.client._flows.downloads import fit_name
from aiforge.errors import Conflict, Failure, NotFound
from aiforge.schemas.artifacts import Artifact
from aiforge.services import artifacts

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def artifact(world: World) -> Artifact:
    services = world.services
    return artifacts.keep(
        *(services.state, services.storage, "mission-1", "file", "a/../weights.bin"),
        CONTENT,
        "application/octet-stream",
    )


def test_an_artifact_is_saved_under_a_name_that_stays_in_its_directory(
    forge: AIForge, artifact: Artifact, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    place = tmp_path / "into"
    place.mkdir()

    path = forge.artifacts.save(artifact.id, place, progress=lambda *seen: told.append(seen))
    named = forge.artifacts.get(artifact.id).save(tmp_path / "new" / "file")

    assert path.parent == place
    assert path.read_bytes() == named.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in place.iterdir()] == [path.name]


def test_both_faces_download_the_same(server: str, artifact: Artifact, tmp_path: Path) -> None:
    async def download() -> Path:
        async with AsyncAIForge(server) as forge:
            return await forge.artifacts.save(artifact.id, tmp_path / "x")

    assert asyncio.run(download()).read_bytes() == CONTENT


class Breaking(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.ReadError("lost")


def scripted(tmp_path: Path, bodies: list[Any]) -> tuple[AIForge, list[str | None]]:
    """A client of a server whose file comes as these bodies, and the ranges it was asked for."""
    ranges: list[str | None] = []
    left = iter(bodies)

    def handle(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/content"):
            body = {
                "id": "art-1",
                "type": "file",
                "name": "f",
                "mimeType": "x/y",
                "size": len(CONTENT),
                "sha256": SHA256,
                "ownerId": "run-1",
                "resourceIds": [],
                "createdAt": "2026-01-01T00:00:00Z",
            }
            return httpx.Response(200, json=body)
        ranges.append(request.headers.get("range"))
        body = next(left)
        if isinstance(body, Exception):
            raise body
        status = 206 if ranges[-1] else 200
        if isinstance(body, bytes):
            return httpx.Response(status, content=body)
        return httpx.Response(status, stream=body)

    client = AIForge(
        "http://forge.test",
        transport=httpx.MockTransport(handle),
        retry=RetryPolicy(attempts=2, backoff=0.0),
    )
    return client, ranges


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiforge.client._flow.time.sleep", lambda seconds: None)


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path) -> None:
    bodies = [Breaking(CONTENT[:1000]), httpx.ConnectError("restarting"), CONTENT[1000:]]
    client, ranges = scripted(tmp_path, bodies)

    path = client.artifacts.save("art-1", tmp_path / "f")

    assert path.read_bytes() == CONTENT
    assert ranges == [None, "bytes=1000-", "bytes=1000-"]


def test_the_next_call_goes_on_where_the_last_one_gave_up(tmp_path: Path) -> None:
    first, _ = scripted(tmp_path, [Breaking(CONTENT[:77]), *[httpx.ReadError("lost")] * 6])
    with pytest.raises(ServerUnreachable):
        first.artifacts.save("art-1", tmp_path / "f")
    assert not (tmp_path / "f").exists()

    second, ranges = scripted(tmp_path, [CONTENT[77:]])
    assert second.artifacts.save("art-1", tmp_path / "f").read_bytes() == CONTENT
    assert ranges == ["bytes=77-"]


@pytest.mark.parametrize("body", [CONTENT[:-1] + b"?", CONTENT + b"more"])
def test_what_is_not_the_file_is_thrown_away(tmp_path: Path, body: bytes) -> None:
    client, _ = scripted(tmp_path, [body])

    with pytest.raises(Failure) as refused:
        client.artifacts.save("art-1", tmp_path / "f")

    assert refused.value.code == "download_corrupt"
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=60))
def test_names_are_one_plain_file_name(name: str) -> None:
    fit = fit_name(name)

    assert fit not in ("", ".", "..")
    assert Path(fit).name == fit
    assert not set(fit) & set('/\\:*?"<>|\0\n')


EXPORT = {
    "exportId": "export-1",
    "jobId": "job-1",
    "format": "gguf",
    "sha256": SHA256,
    "createdAt": "2026-01-01T00:00:00Z",
    "size": len(CONTENT),
    "files": [
        {"name": "tokenizer.json", "size": 1, "sha256": "0" * 64},
        {"name": "model.gguf", "size": len(CONTENT), "sha256": SHA256},
    ],
}


def exporting(status: str) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/jobs/job-1/exports/export-1/files/model.gguf":
            return httpx.Response(200, content=CONTENT)
        assert request.url.path == "/jobs/job-1/exports/export-1"
        return httpx.Response(200, json=EXPORT | {"status": status})

    return handle


def test_an_export_is_downloaded_by_its_main_file(tmp_path: Path) -> None:
    client = AIForge("http://forge.test", transport=httpx.MockTransport(exporting("completed")))

    path = client.exports.download("job-1", "export-1", tmp_path)

    assert (path.name, path.read_bytes()) == ("model.gguf", CONTENT)
    with pytest.raises(NotFound, match=r"tokenizer\.json, model\.gguf"):
        client.exports.download("job-1", "export-1", tmp_path, name="other")


def test_an_export_that_is_under_way_has_no_file(tmp_path: Path) -> None:
    client = AIForge("http://forge.test", transport=httpx.MockTransport(exporting("running")))

    with pytest.raises(Conflict) as refused:
        client.exports.download("job-1", "export-1", tmp_path)
    assert refused.value.code == "export_not_completed"
