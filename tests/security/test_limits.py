"""Who sends too much is told so, and when to come back."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from front import MakeToken, bearer
from hypothesis import given
from hypothesis import settings as tests
from hypothesis import strategies as st
from served import World, local_client, serve

from aiforge.services import jobs, limits
from aiforge.services.limits import Bucket, LocalLimiter, Verdict, Window
from aiforge.state import keys


@pytest.fixture
def limited(production: World, app: FastAPI) -> Any:
    """The front door with small quotas."""
    update = {"rate_limit_reads": 5, "rate_limit_writes": 3, "rate_limit_uploads": 2}
    production.services.settings = production.services.settings.model_copy(update=update)
    with local_client(app) as client:
        yield client


def test_each_kind_of_request_has_its_own_quota(
    limited: httpx.Client, token: MakeToken, production: World
) -> None:
    headers = bearer(token("admin"))
    form = {"files": ("a.py", b"x = 1\n")}

    reads = [limited.get("/jobs", headers=headers) for _ in range(6)]
    writes = [limited.delete("/jobs/job-none", headers=headers) for _ in range(4)]
    uploads = [limited.post("/data-sources", files=form, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in reads] == [200] * 5 + [429]
    assert [answer.status_code for answer in writes] == [404] * 3 + [429]
    assert [answer.status_code for answer in uploads] == [201] * 2 + [429]


def test_answers_tell_what_is_left_and_when_there_is_more(
    limited: httpx.Client, token: MakeToken
) -> None:
    headers = bearer(token("jobs:read"))

    first, *_, last = [limited.get("/jobs", headers=headers) for _ in range(6)]

    assert first.headers["ratelimit-policy"] == '"reads";q=5;w=60'
    assert first.headers["ratelimit"].startswith('"reads";r=4;t=')
    assert "retry-after" not in first.headers
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert last.json()["detail"] == last.json()["detail"] | {
        "code": "rate_limited",
        "bucket": "reads",
        "limit": 5,
    }


def test_credentials_are_counted_apart_and_health_is_not_counted(
    limited: httpx.Client, token: MakeToken
) -> None:
    alice, bob = (bearer(token("jobs:read", subject=name)) for name in ("alice", "bob"))
    for _ in range(6):
        limited.get("/jobs", headers=alice)

    assert limited.get("/jobs", headers=alice).status_code == 429
    assert limited.get("/jobs", headers=bob).status_code == 200
    assert {limited.get("/health").status_code for _ in range(20)} == {200}


def test_a_request_that_reads_is_counted_while_it_reads(
    front: httpx.Client,
    token: MakeToken,
    production: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    services = production.services
    hit, list_jobs = services.limiter.hit, jobs.list_page_json

    async def counted(principal: str, bucket: Bucket) -> Verdict | None:
        seen.append("counts")
        return await hit(principal, bucket)

    async def listed(*args: Any) -> Any:
        seen.append("reads")
        return await list_jobs(*args)

    monkeypatch.setattr(services.limiter, "hit", counted)
    monkeypatch.setattr(jobs, "list_page_json", listed)

    assert front.get("/jobs", headers=bearer(token("jobs:read"))).status_code == 200
    assert seen == ["counts", "reads"]


class Away:
    """A limiter that does not answer."""

    async def hit(self, principal: str, bucket: Bucket) -> Verdict | None:
        return None


@pytest.mark.parametrize(("failure", "status"), [("open", 200), ("closed", 503)])
def test_a_limiter_that_is_away_does_as_the_operator_chose(
    front: httpx.Client, token: MakeToken, production: World, failure: str, status: int
) -> None:
    settings = production.services.settings.model_copy(update={"limiter_failure": failure})
    production.services.settings = settings
    production.services.limiter = Away()

    answer = front.get("/jobs", headers=bearer(token("jobs:read")))

    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)


def test_development_counts_nobody(api: httpx.Client) -> None:
    assert {api.get("/jobs").status_code for _ in range(150)} == {200}


@tests(max_examples=50, deadline=None)
@given(
    limit=st.integers(1, 20),
    steps=st.lists(st.floats(0.01, 30.0), min_size=1, max_size=120),
)
def test_no_minute_whatsoever_sees_more_than_the_limit(limit: int, steps: list[float]) -> None:
    clock = [1_000_000.0]
    passed: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.time, "time", lambda: clock[0])
        window = Window()
        for step in steps:
            clock[0] += step
            verdict = window.judge("p", Bucket.READS, limit)
            recent = [moment for moment in passed if clock[0] - moment < 60.0]
            if verdict.allowed:
                passed.append(clock[0])
                assert len(recent) < limit
            else:
                assert len(recent) >= limit - 1
                assert verdict.remaining == 0


def test_one_process_counts_exactly_whatever_comes_at_once() -> None:
    limiter = LocalLimiter({Bucket.READS: 100})

    async def all_at_once() -> list[Verdict | None]:
        return await asyncio.gather(*(limiter.hit("p", Bucket.READS) for _ in range(150)))

    verdicts = asyncio.run(all_at_once())

    assert sum(verdict is not None and verdict.allowed for verdict in verdicts) == 100


class Slow:
    """A limiter whose refusal comes late."""

    async def hit(self, principal: str, bucket: Bucket) -> Verdict | None:
        await asyncio.sleep(0.05)
        return Verdict(False, 5, 0, 30)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/job-none", "/keys", "/nothing", "/openapi.json"])
def test_a_late_refusal_comes_before_any_part_of_the_answer(
    front: httpx.Client, token: MakeToken, production: World, path: str
) -> None:
    production.services.limiter = Slow()

    answer = front.get(path, headers=bearer(token("jobs:read")))

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "30"
    assert answer.json()["detail"]["code"] == "rate_limited"


def test_a_stream_is_refused_before_it_begins_and_its_work_ends(
    production: World, app: FastAPI, token: MakeToken
) -> None:
    production.services.limiter = Slow()
    for url in serve(app):
        answer = httpx.get(
            f"{url}/events", headers=bearer(token("events:read")), timeout=10, trust_env=False
        )

    assert answer.status_code == 429


def test_what_changes_something_is_counted_before_it_is_done(
    front: httpx.Client, admin: dict[str, str], production: World
) -> None:
    production.services.limiter = Slow()

    answer = front.post("/keys", json={"name": "k", "scopes": ["admin"]}, headers=admin)

    assert answer.status_code == 429
    assert production.services.state.call_sync(keys.page, 1, 0).total == 0
