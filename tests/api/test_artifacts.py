"""Artifacts and their content, whole and in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import World

from aiforge.api import ranges
from aiforge.api.examples import CHART
from aiforge.errors import InvalidInput, NotFound, Rejected
from aiforge.schemas.artifacts import Artifact
from aiforge.services import artifacts

TEXT = ("# Report\n\nÜber alles.\n" * 50).encode()


def keep(world: World, **changes: Any) -> Artifact:
    given: dict[str, Any] = {
        "type": "report",
        "name": "What was found",
        "content": TEXT,
        "mime_type": "text/markdown",
    }
    services = world.services
    return artifacts.keep(services.state, services.storage, "mission-1", **(given | changes))


@pytest.fixture
def report(world: World) -> Artifact:
    return keep(world)


def test_what_a_run_leaves_is_listed_and_read(api: httpx.Client, world: World) -> None:
    kept = keep(
        world, type="chart", name="Trend", content=json.dumps(CHART).encode(),
        mime_type="application/json", resource_ids=["job-1"],
    )  # fmt: skip
    keep(world)

    listed = api.get("/artifacts", params={"resourceId": "job-1"})
    shown = api.get(f"/artifacts/{kept.id}")
    content = api.get(f"/artifacts/{kept.id}/content")

    assert listed.headers["x-total-count"] == "1"
    assert listed.json() == [shown.json()]
    assert {"id", "type", "name", "mimeType", "size"} <= shown.json().keys()
    assert content.json() == CHART
    assert content.headers["content-type"] == "application/json"
    assert int(content.headers["content-length"]) == shown.json()["size"]
    assert len(api.get("/artifacts").json()) == 2


def test_content_comes_as_it_is_and_no_browser_runs_it(api: httpx.Client, world: World) -> None:
    page = b"<script>alert(1)</script>"
    text = api.get(f"/artifacts/{keep(world).id}/content")
    name = 'a"\r\nX: 1/../é.html'
    html = keep(world, type="file", name=name, content=page, mime_type="text/html")
    answer = api.get(f"/artifacts/{html.id}/content")

    assert text.content == TEXT
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.content == page
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename*=UTF-8''a%22%0D%0AX%3A%201%2F..%2F%C3%A9.html"
    assert "x" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-9", TEXT[:10]),
        ("bytes=10-", TEXT[10:]),
        ("bytes=-7", TEXT[-7:]),
        ("bytes=5-999999", TEXT[5:]),
        ("bytes=-999999", TEXT),
    ],
)
def test_a_range_is_answered_in_part(
    api: httpx.Client, report: Artifact, asked: str, expected: bytes
) -> None:
    answer = api.get(f"/artifacts/{report.id}/content", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (206, expected)
    start = TEXT.index(expected) if len(expected) > 10 else len(TEXT) - 7 if "=-" in asked else 0
    end = start + len(expected) - 1
    assert answer.headers["content-range"] == f"bytes {start}-{end}/{len(TEXT)}"
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("asked", [f"bytes={len(TEXT)}-", "bytes=-0", "bytes=99999-100000"])
def test_a_range_beyond_the_end_is_refused(api: httpx.Client, report: Artifact, asked: str) -> None:
    answer = api.get(f"/artifacts/{report.id}/content", headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"
    assert answer.json()["detail"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=0-1", "bytes=5-2", "bytes=-", "x"])
def test_a_range_that_is_not_understood_is_no_range(
    api: httpx.Client, report: Artifact, asked: str
) -> None:
    answer = api.get(f"/artifacts/{report.id}/content", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, TEXT)


def test_content_is_known_by_its_hash(api: httpx.Client, world: World, report: Artifact) -> None:
    path = f"/artifacts/{report.id}/content"
    etag = api.get(path).headers["etag"]

    unchanged = api.get(path, headers={"If-None-Match": f'"x", W/{etag}'})
    part = {"Range": "bytes=0-3", "If-Range": etag}
    before = api.get(path, headers=part)
    keep(world, content=b"new")
    after = api.get(path, headers=part)

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (before.status_code, before.content) == (206, TEXT[:4])
    assert (after.status_code, after.content) == (200, b"new")


@pytest.mark.parametrize("name", ["art-none", "..%2F..%2Fetc%2Fpasswd", "ART-1", "art-1%00"])
def test_no_other_file_can_be_reached(api: httpx.Client, world: World, name: str) -> None:
    for path in (f"/artifacts/{name}", f"/artifacts/{name}/content"):
        answer = api.get(path)
        assert answer.status_code == 404
        assert answer.json()["detail"]["code"] in {"artifact_not_found", "route_not_found"}


def test_content_that_was_lost_is_told(api: httpx.Client, world: World, report: Artifact) -> None:
    for file in (Path(world.services.storage.root) / "artifacts").rglob("*"):
        if file.is_file():
            file.unlink()

    answer = api.get(f"/artifacts/{report.id}/content")

    assert answer.status_code == 404
    assert answer.json()["detail"]["code"] == "file_not_found"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"mime_type": "text/html; charset=x"},
        {"mime_type": "text/html\r\nX: 1"},
        {"type": "chart"},
        {"type": "chart", "content": b"[1]"},
    ],
)
def test_what_is_no_artifact_is_refused(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        keep(world, **changes)
    assert world.services.storage.names("artifacts") == []


@given(size=st.integers(0, 50), header=st.from_regex(r"bytes=\d{0,3}-\d{0,3}", fullmatch=True))
def test_a_range_lies_within_the_content(size: int, header: str) -> None:
    try:
        found = ranges.wanted({"range": header}, size, '"x"')
    except Rejected:
        return
    if found is not None:
        start, end = found
        assert 0 <= start < end <= size


def test_the_content_of_no_artifact_is_not_looked_for(world: World) -> None:
    with pytest.raises(NotFound):
        world.services.storage.open_input("artifacts/aa/none")
