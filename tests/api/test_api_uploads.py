"""Uploads: what is accepted, and what hostile ones get."""

from __future__ import annotations

import asyncio
import io
import itertools
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from served import World

from aiforge.api import multipart
from aiforge.settings import Settings
from aiforge.sources.uploads import Received

BOUNDARY = "limit"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: bytes | None = None) -> bytes:
    """One part of a form, with nothing escaped."""
    disposition = b'Content-Disposition: form-data; name="%s"' % name.encode()
    if filename is not None:
        disposition += b'; filename="%s"' % filename
    return b"--limit\r\n%s\r\n\r\n%s\r\n" % (disposition, content)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--limit--\r\n"


def stored(world: World, source_id: str) -> dict[str, bytes]:
    """Paths and contents that an upload left."""
    received = Received(world.services.storage, source_id)
    entries = received.entries
    return dict(zip((entry.path for entry in entries), received.read(entries), strict=True))


def outside(settings: Settings) -> set[Path]:
    """Everything below the test's directory that is not in the storage."""
    root = settings.home.parent
    kept = (settings.home / "storage", settings.home / "state")
    return {
        path
        for path in root.rglob("*")
        if not any(path == place or place in path.parents for place in kept)
    }


def test_files_and_archives_are_stored_under_their_names(api: httpx.Client, world: World) -> None:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("pkg/b.py", "b = 2\n")
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        info = tarfile.TarInfo("c.md")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"# C\n"))

    created = api.post(
        "/data-sources",
        files=[
            ("files", ("a.py", b"a = 1\n")),
            ("files", ("b.zip", zipped.getvalue())),
            ("files", ("c.tar.gz", tarred.getvalue())),
        ],
        data={"name": "mine", "includePatterns": "*.py, *.md", "excludePatterns": "x/\ny/"},
    )

    assert created.status_code == 201, created.text
    source_id = created.json()["sourceId"]
    assert stored(world, source_id) == {
        "a.py": b"a = 1\n",
        "pkg/b.py": b"b = 2\n",
        "c.md": b"# C\n",
    }
    source = api.get(f"/data-sources/{source_id}").json()
    assert (source["name"], source["type"]) == ("mine", "upload")
    assert source["includePatterns"] == ["*.py", "*.md"]
    assert source["excludePatterns"] == ["x/", "y/"]


def test_repeated_upload_with_a_key_makes_one_source(api: httpx.Client, settings: Settings) -> None:
    def send(content: bytes) -> httpx.Response:
        return api.post(
            "/data-sources",
            files=[("files", ("a.py", content))],
            headers={"Idempotency-Key": "upload-1"},
        )

    first, again, other = send(b"a"), send(b"a"), send(b"b")

    assert first.json() == again.json()
    assert other.status_code == 409
    assert len(api.get("/data-sources").json()) == 1
    assert len(list((settings.home / "storage" / "sources").iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    [
        b"../x",
        b"/etc/x",
        b"a/../../x",
        b"..\\x",
        b"a\x00b",
        b"a\x1bb",
        b"\xff\xfe",
        b"",
        b"..",
        b"x" * 4000 + b"/" + b"y" * 1000,
    ],
)
def test_hostile_names_are_refused_and_leave_nothing(
    api: httpx.Client, settings: Settings, name: bytes
) -> None:
    before = outside(settings)

    answer = api.post("/data-sources", content=form(part("files", b"x", name)), headers=HEADERS)

    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]["code"]
    assert api.get("/data-sources").json() == []
    assert outside(settings) == before
    assert not list((settings.home / "storage").rglob("content.bin"))


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (form(), 422, None),
        (form(part("name", b"n")), 422, "files"),
        (form(part("files", b"x")), 422, "files"),
        (form(part("name", b"n", b"n.txt"), part("files", b"x", b"a")), 422, "name"),
        (form(part("nonsense", b"1"), part("files", b"x", b"a")), 422, "nonsense"),
        (form(part("name", b"1"), part("name", b"2"), part("files", b"x", b"a")), 422, "name"),
        (form(part("name", b"\xff"), part("files", b"x", b"a")), 422, "name"),
        (form(part("name", b"n" * 201), part("files", b"x", b"a")), 400, "name"),
        (form(part("includePatterns", b"a" * 600), part("files", b"x", b"a")), 400, None),
        (form(part("name", b"n" * (2 << 20)), part("files", b"x", b"a")), 400, "name"),
        (form(*[part("files", b"", b"f%d" % n) for n in range(1001)]), 400, "files"),
        (part("files", b"x", b"a"), 422, None),
        (b"", 422, None),
        (b"nonsense", 422, None),
        (b"--limit\r\nContent-Disposition: form-data\r\n\r\nx\r\n--limit--\r\n", 422, None),
        (b"--limit\r\nX" + b"y" * 100_000, 422, None),
    ],
)
def test_malformed_forms_are_refused(
    api: httpx.Client, content: bytes, status: int, field: str | None
) -> None:
    answer = api.post("/data-sources", content=content, headers=HEADERS)

    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["detail"]["field"] == field
    assert api.get("/data-sources").json() == []


def test_form_without_boundary_is_refused(api: httpx.Client) -> None:
    answer = api.post(
        "/data-sources", content=b"x", headers={"Content-Type": "multipart/form-data"}
    )

    assert answer.status_code == 422
    assert answer.json()["detail"]["code"] == "multipart_invalid"


@pytest.mark.parametrize("where", ["declared", "chunked"])
def test_body_above_the_limit_is_413_over_a_real_connection(
    live: httpx.Client, settings: Settings, where: str
) -> None:
    content = form(part("files", b"x" * (settings.max_upload_bytes + 1), b"a"))
    pieces = (content[start : start + 65536] for start in range(0, len(content), 65536))

    answer = live.post(
        "/data-sources", content=content if where == "declared" else pieces, headers=HEADERS
    )

    assert answer.status_code == 413
    assert answer.json()["detail"]["code"] == "body_too_large"
    assert live.get("/data-sources").json() == []


def test_archive_that_unpacks_to_far_more_is_refused(api: httpx.Client) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(60):
            archive.writestr(f"{number}.txt", b"\0" * (1 << 20))

    answer = api.post("/data-sources", files=[("files", ("bomb.zip", bomb.getvalue()))])

    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] == "upload_too_large"
    assert api.get("/data-sources").json() == []


def receive(content: bytes, cuts: list[int]) -> dict[str, Any]:
    """What the parser makes of a body that arrives in these pieces."""
    edges = [0, *sorted({cut % (len(content) + 1) for cut in cuts}), len(content)]
    pieces = [content[a:b] for a, b in itertools.pairwise(edges)]

    def messages() -> Iterator[dict[str, Any]]:
        for piece in pieces:
            yield {"type": "http.request", "body": piece, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    stream = messages()

    async def next_message() -> Any:
        return next(stream)

    async def run() -> dict[str, Any]:
        headers = [(b"content-type", HEADERS["Content-Type"].encode())]
        request = Request({"type": "http", "headers": headers}, next_message)
        async with multipart.receive(request, "files") as received:
            files = [(name, data.read()) for name, data in received.files]
            return {"fields": received.fields, "files": files, "print": received.fingerprint}

    return asyncio.run(run())


FILES = st.lists(
    st.tuples(st.text("abc.", min_size=1, max_size=5), st.binary(max_size=200)), max_size=5
)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


@given(files=FILES, name=st.text("xyz \n", max_size=20), cuts=CUTS, others=CUTS)
def test_form_is_the_same_however_it_is_cut(
    files: list[tuple[str, bytes]], name: str, cuts: list[int], others: list[int]
) -> None:
    content = form(
        part("name", name.encode()), *(part("files", data, f.encode()) for f, data in files)
    )

    found = receive(content, cuts)

    assert found["fields"] == {"name": name}
    assert found["files"] == files
    assert found == receive(content, others)


def test_ten_thousand_files_are_refused_with_a_remedy(
    api: httpx.Client, settings: Settings
) -> None:
    many = [part("files", b"x = 1\n", b"a%d.py" % number) for number in range(10_000)]

    answer = api.post("/data-sources", content=form(*many), headers=HEADERS)

    assert answer.status_code == 400
    assert ".zip" in answer.json()["message"]
    assert api.get("/data-sources").json() == []
    assert not list((settings.home / "storage").rglob("*.bin"))


def test_ten_thousand_files_in_an_archive_are_taken(api: httpx.Client, world: World) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(10_000):
            archive.writestr(f"pkg/m{number}.py", f"x = {number}\n")

    answer = api.post("/data-sources", files=[("files", ("all.zip", packed.getvalue()))])

    assert answer.status_code == 201, answer.text
    received = Received(world.services.storage, answer.json()["sourceId"])
    assert len(received.entries) == 10_000


def test_two_gigabytes_on_a_limit_of_one_are_refused_before_they_are_sent(
    server: str, world: World
) -> None:
    world.services.settings.max_upload_bytes = 1 << 30
    address = httpx.URL(server)
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        connection.sendall(
            b"POST /data-sources HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2147483648\r\n"
            b"Content-Type: multipart/form-data; boundary=limit\r\n\r\n--limit\r\n"
        )
        answer = b""
        while b"}}" not in answer and (piece := connection.recv(65536)):
            answer += piece

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer
