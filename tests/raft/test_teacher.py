"""A teacher: verified, paid once, patient, within its budget, and resumed after a crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teacher_server import answer_of, completion, teacher_server

from aiforge.errors import Failure, InvalidInput, Unavailable
from aiforge.raft.answers import parse_answer
from aiforge.raft.teacher import (
    BUDGET_SPENT,
    Account,
    Asked,
    Teacher,
    TeacherPlan,
    ask_here,
)
from aiforge.raft.teacher_cache import Reply, ReplyCache, request_key
from aiforge.raft.teacher_http import key_variable, parse_endpoint
from aiforge.raft.teacher_prompts import (
    TeacherTask,
    believed,
    json_schema,
    messages,
    parse_reply,
)
from aiforge.raft.wording import normalise
from aiforge.schemas.datasets import TeacherConfig, TeacherUse
from aiforge.storage import Storage

CALM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
TASKS = [
    TeacherTask(f"c{i}", f"pkg/m{i}.py", f"def load_{i}(path):\n    return open(path, {i})")
    for i in range(12)
]
Answer = Callable[[dict[str, Any]], str]


def plan_for(storage: Storage, url: str, dataset_id: str = "ds-1", **options: Any) -> TeacherPlan:
    config = TeacherConfig(url=url, **({"model": "m", "slots": 4, "max_retries": 2} | options))
    address = parse_endpoint(url, ["127.0.0.1"])
    return TeacherPlan(storage.uri, dataset_id, config, address)


def ask(plan: TeacherPlan, tasks: list[TeacherTask] = TASKS) -> tuple[list[Asked], TeacherUse]:
    account = Account(plan)
    answers = sorted(ask_here(plan, tasks), key=lambda asked: int(asked.id[1:]))
    for asked in answers:
        account.add(asked)
    return answers, account.finish()


def test_answers_have_the_raft_form_and_quote_their_chunk(storage: Storage) -> None:
    with teacher_server(0.02) as (url, server):
        answers, use = ask(
            plan_for(
                storage,
                url,
                price_per_million_prompt_tokens=1.0,
                price_per_million_reply_tokens=2.0,
            )
        )
    assert [asked.id for asked in answers] == [task.id for task in TASKS]
    for task, asked in zip(TASKS, answers, strict=True):
        assert asked.pairs
        for pair in asked.pairs:
            parsed = parse_answer(pair.output)
            assert parsed is not None
            assert tuple(parsed.quotes) == pair.quotes
            assert all(passage in normalise(task.text) for passage in parsed.quotes)
    assert (use.requests, use.cached, use.chunks) == (12, 0, 12)
    assert (use.prompt_tokens, use.reply_tokens) == (1200, 600)
    assert use.cost == pytest.approx((1200 * 1 + 600 * 2) / 1e6)
    assert 1 < server.most <= 4


def test_nothing_is_paid_twice(storage: Storage) -> None:
    with teacher_server() as (url, server):
        first, _ = ask(plan_for(storage, url))
        again, use = ask(plan_for(storage, url))
        other, theirs = ask(plan_for(storage, url, "ds-2"))
        assert server.requests == 12
        assert first == again
        assert [a.pairs for a in other] == [a.pairs for a in first]
        # What the same dataset paid in an earlier attempt is still its own.
        assert (use.requests, use.cached) == (12, 0)
        assert (theirs.requests, theirs.cached, theirs.prompt_tokens) == (0, 12, 0)
        ask(plan_for(storage, url, model="another"))
        ask(plan_for(storage, url, temperature=1.0))
        assert server.requests == 36
        changed = [TeacherTask("c0", TASKS[0].path, TASKS[0].text + "\n# changed"), *TASKS[1:]]
        ask(plan_for(storage, url, "ds-3"), changed)
        assert server.requests == 37


_KILLED = """
import os, signal, sys
from test_teacher import TASKS, plan_for
from aiforge.raft.teacher import ask_here
from aiforge.storage import Storage
plan = plan_for(Storage(sys.argv[1]), sys.argv[2], slots=1)
for count, asked in enumerate(ask_here(plan, TASKS), 1):
    if count == 5:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_paid_survives_a_kill(storage: Storage) -> None:
    with teacher_server(0.005) as (url, server):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])
        }
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED, storage.uri, url], env=environment, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        paid = server.requests
        assert 5 <= paid < 12
        answers, use = ask(plan_for(storage, url))
        # One request may have been under way when the process died.
        assert server.requests in (12, 13)
        assert use.requests == 12
        assert all(asked.pairs for asked in answers)


def test_a_line_that_a_crash_cut_off_is_asked_for_again(storage: Storage) -> None:
    with teacher_server() as (url, server):
        ask(plan_for(storage, url))
        (segment,) = Path(storage.full("cache/teacher")).glob("*/*.jsonl")
        segment.write_bytes(segment.read_bytes()[:-20])
        ask(plan_for(storage, url))
        assert server.requests == 13


@pytest.mark.parametrize(
    ("budget", "paid"),
    [({"max_requests": 5}, 5), ({"max_total_tokens": 2000, "max_tokens": 64}, None)],
)
def test_a_budget_stops_cleanly_and_a_later_build_goes_on(
    storage: Storage, budget: dict[str, int], paid: int | None
) -> None:
    with teacher_server(0.01) as (url, server):
        answers, use = ask(plan_for(storage, url, **budget))
        assert use.budget_spent
        assert use.dropped[BUDGET_SPENT] == 12 - use.requests
        assert server.requests == use.requests
        assert 0 < use.requests < 12
        assert paid in (None, use.requests)
        assert use.prompt_tokens + use.reply_tokens <= budget.get("max_total_tokens", 10**9)
        assert sum(bool(asked.pairs) for asked in answers) == use.requests
        roomy = {"max_requests": 100} | {k: v for k, v in budget.items() if k == "max_tokens"}
        # An attempt after a crash has no fresh budget.
        _, again = ask(plan_for(storage, url, **budget))
        assert again == use
        _, later = ask(plan_for(storage, url, "ds-2", **roomy))
        assert (later.requests, later.cached) == (12 - use.requests, use.requests)
        assert server.requests == 12


def test_a_faulty_reply_is_repaired_once(storage: Storage) -> None:
    def first_wrong(body: dict[str, Any]) -> str:
        return answer_of(body) if len(body["messages"]) == 4 else "Sure! Here you are."

    with teacher_server(answer=first_wrong) as (url, server):
        answers, use = ask(plan_for(storage, url))
        assert (use.repairs, use.requests, server.requests) == (12, 24, 24)
        assert all(asked.pairs for asked in answers)
    with teacher_server(answer=lambda body: '{"pairs": 3}') as (url, server):
        answers, use = ask(plan_for(storage, url, "ds-2", model="hopeless"))
        assert server.requests == 24
        assert use.dropped == {"the teacher's reply is invalid": 12}
        assert not any(asked.pairs for asked in answers)


def _serve(handler: Callable[[int], web.Response], scenario: Callable[[str], Any]) -> Any:
    """Run a coroutine beside a server whose n-th answer is ``handler(n)``."""

    async def main() -> Any:
        count = 0

        async def answer(request: web.Request) -> web.Response:
            nonlocal count
            body = await request.json()
            count += 1
            return handler(count) or web.json_response(completion(answer_of(body)))

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await scenario(f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    return asyncio.run(main())


async def _ask(plan: TeacherPlan, count: int = 1) -> list[Asked]:
    async with Teacher(plan) as teacher:
        return [asked async for asked in teacher.ask_all(TASKS[:count])]


def test_busy_endpoints_are_asked_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def at_once(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    def busy(count: int) -> web.Response | None:
        if count == 1:
            return web.Response(status=429, headers={"Retry-After": "7"})
        return web.Response(status=503) if count == 2 else None

    monkeypatch.setattr("aiforge.raft.teacher_http.asyncio.sleep", at_once)
    (asked,) = _serve(busy, lambda url: _ask(plan_for(storage, url)))
    assert asked.pairs
    assert asked.retries == 2
    assert waits[0] >= 6.9
    assert waits[1] >= 6.9


@pytest.mark.parametrize(
    "value", ["", "soon", "Wed, 99 Nov 2026", "-3", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT"]
)
def test_odd_retry_after_headers_do_no_harm(
    storage: Storage, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiforge.raft.teacher_http._FIRST_WAIT", 0.001)

    def busy(count: int) -> web.Response | None:
        return web.Response(status=503, headers={"Retry-After": value}) if count == 1 else None

    (asked,) = _serve(busy, lambda url: _ask(plan_for(storage, url)))
    assert asked.pairs


@pytest.mark.parametrize(
    ("status", "text"), [(401, "bad key"), (404, "no such model"), (400, "response_format?")]
)
def test_a_refusal_ends_the_build_with_its_reason(storage: Storage, status: int, text: str) -> None:
    def refuse(_: int) -> web.Response:
        return web.Response(status=status, text=text)

    with pytest.raises(Failure, match=text.replace("?", "")) as refused:
        _serve(refuse, lambda url: _ask(plan_for(storage, url), 12))
    assert refused.value.code == "teacher_refused"
    assert "\n" not in refused.value.message


def test_an_endpoint_that_answers_nobody_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiforge.raft.teacher_http._FIRST_WAIT", 0.001)
    for count in (1, 12):
        with pytest.raises(Unavailable, match="Start it") as away:
            ask(plan_for(storage, "http://127.0.0.1:1"), TASKS[:count])
        assert away.value.code == "teacher_unreachable"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}']
)
def test_bodies_that_are_no_completion_are_no_answer(storage: Storage, body: bytes) -> None:
    (asked,) = _serve(
        lambda _: web.Response(body=body, content_type="application/json"),
        lambda url: _ask(plan_for(storage, url)),
    )
    assert not asked.pairs
    assert sum(asked.dropped.values()) == 1


def test_redirects_are_not_followed(storage: Storage) -> None:
    with pytest.raises(Failure) as refused:
        _serve(
            lambda _: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}),
            lambda url: _ask(plan_for(storage, url)),
        )
    assert refused.value.detail["status"] == 307


def test_the_key_is_sent_to_its_host_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "k-123")
    with teacher_server() as (url, server):
        plan = plan_for(storage, url)
        address = plan.address
        assert key_variable(plan.config, address, {}) is None
        bound = {"127.0.0.1": "TEACHER_KEY"}
        assert key_variable(plan.config, address, bound) == "TEACHER_KEY"
        with_key = TeacherPlan(plan.storage_uri, "ds-1", plan.config, address, "TEACHER_KEY")
        ask(with_key, TASKS[:1])
        assert server.keys == ["Bearer k-123"]
    wants = TeacherConfig(url=url, model="m", api_key_env="AIFORGE_JWT_SECRET")
    with pytest.raises(InvalidInput) as refused:
        key_variable(wants, address, bound)
    assert refused.value.code == "key_not_bound"
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(InvalidInput) as missing:
        key_variable(plan.config, address, bound)
    assert missing.value.code == "key_missing"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org", "url_invalid"),
        ("https://", "url_invalid"),
        ("https://example.org:99999/v1", "url_invalid"),
        ("https://user:secret@example.org/v1", "url_has_credentials"),
        ("https://example.org/v1?key=secret", "url_invalid"),
        ("http://example.org/v1", "url_not_allowed"),
        ("http://169.254.169.254/latest", "url_not_allowed"),
        ("https://127.0.0.1/v1", "url_not_allowed"),
        ("https://[::ffff:10.0.0.1]/v1", "url_not_allowed"),
        ("http://127.0.0.1:8265/v1", "url_not_allowed"),
    ],
)
def test_endpoints_that_are_refused(url: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_endpoint(url, ["127.0.0.1:11434"])
    assert refused.value.code == code
    assert "secret@" not in refused.value.message


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1/chat/completions"),
        ("https://example.org/api/v1", "https://example.org/api/v1/chat/completions"),
        ("https://example.org/x/chat/completions", "https://example.org/x/chat/completions"),
    ],
)
def test_endpoints_that_are_accepted(url: str, target: str) -> None:
    assert parse_endpoint(url, ["127.0.0.1:11434"]).url == target


def test_a_name_that_leads_inside_is_refused_when_it_is_asked(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    config = TeacherConfig(url="https://localhost/v1", model="m")
    plan = TeacherPlan(storage.uri, "ds-1", config, parse_endpoint("https://localhost/v1", []))
    with pytest.raises(InvalidInput, match="not public"):
        list(ask_here(plan, TASKS[:1]))


# What is believed.


def _reply(**changes: Any) -> str:
    pair = {
        "question": "What does load_0 do with its path?",
        "reason": "It opens it.",
        "quotes": ["return  open(path, 0)"],
        "answer": "It opens the path and returns the file.",
    }
    return json.dumps({"pairs": [pair | changes]})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"quotes": ["return open(path, 1)"]}, "a quote is not in the chunk"),
        ({"quotes": ["return open(path, 0)", " "]}, "a quote is not in the chunk"),
        ({"answer": "##Answer: 3"}, "holds the markers of the answer form"),
        ({"question": "Why?"}, "the question is too short"),
        (
            {"question": "What does this document say of load_0?"},
            "the question speaks of a document that its reader may not have",
        ),
        ({"answer": "load_0"}, "the question says the answer"),
    ],
)
def test_pairs_that_do_not_hold_are_dropped(changes: dict[str, Any], reason: str | None) -> None:
    pairs, dropped = believed(TASKS[0], parse_reply(_reply(**changes)))
    assert dropped == ({reason: 1} if reason else {})
    assert len(pairs) == (0 if reason else 1)


@pytest.mark.parametrize(
    "text",
    ["", "null", "{}", '{"pairs": []}', '{"pairs": [{}]}', _reply(extra=1), _reply(quotes=[])],
)
def test_replies_of_another_shape_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_reply(text)


def test_a_fence_around_a_reply_is_forgiven() -> None:
    assert parse_reply(f"```json\n{_reply()}\n```").pairs


@CALM
@given(st.text(max_size=300))
def test_any_reply_is_parsed_or_refused(text: str) -> None:
    try:
        reply = parse_reply(text)
    except ValueError:
        return
    pairs, dropped = believed(TASKS[0], reply)
    assert len(pairs) + dropped.total() == len(reply.pairs)


def test_the_schema_that_is_sent_describes_what_is_accepted() -> None:
    import jsonschema

    jsonschema.validate(json.loads(_reply()), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(_reply(extra=1)), json_schema())
    assert "minLength" not in json.dumps(json_schema())


@CALM
@given(st.lists(st.text(max_size=40), min_size=1, max_size=20, unique=True))
def test_replies_come_back_from_a_fresh_look(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        storage = Storage(directory)

        async def fill() -> None:
            cache = ReplyCache(storage, "m", "ds-1")
            replies = [cache.put(text, Reply(text, 1, 2)) for text in texts]
            await asyncio.gather(*replies)
            await cache.close()

        asyncio.run(fill())
        again = ReplyCache(storage, "m", "ds-1")
        assert len(again) == len(texts)
        assert (again.spent.requests, again.spent.tokens) == (len(texts), 3 * len(texts))
        for text in texts:
            found = again.get(text)
            assert found is not None
            assert (found.text, found.payer) == (text, "ds-1")
        assert again.get("\0unknown") is None


def test_requests_are_named_by_all_that_matters() -> None:
    asked = messages(TASKS[0], 3)
    keys = {
        request_key("m", {"temperature": 0}, asked),
        request_key("n", {"temperature": 0}, asked),
        request_key("m", {"temperature": 1}, asked),
        request_key("m", {"temperature": 0}, messages(TASKS[0], 2)),
        request_key("m", {"temperature": 0}, messages(TASKS[1], 3)),
    }
    assert len(keys) == 5
    assert request_key("m", {"b": 1, "a": 2}, asked) == request_key("m", {"a": 2, "b": 1}, asked)


@pytest.mark.parametrize(
    "values",
    [
        {"model": "m"},
        {"model": "m", "engine": "vllm", "url": "https://example.org"},
        {"model": "m", "url": "https://example.org", "apiKey": "secret"},
        {"model": "m", "url": "https://example.org", "apiKeyEnv": "lower"},
    ],
)
def test_configurations_that_contradict_themselves(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"url|apiKey"):
        TeacherConfig.model_validate(values)
