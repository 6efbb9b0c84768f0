"""A teacher model asked about many chunks at a time, within a budget, paying for nothing twice.

Everything runs in one event loop of one plain process; ``ray_teacher`` puts that on a cluster.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiforge.raft.teacher_cache import Reply, ReplyCache, Spent, request_key
from aiforge.raft.teacher_http import Address, Endpoint, NoAnswer, unreachable
from aiforge.raft.teacher_prompts import (
    PROMPT_VERSION,
    Pair,
    TeacherTask,
    believed,
    messages,
    parse_reply,
    repair,
    response_format,
)
from aiforge.schemas.datasets import TeacherConfig, TeacherUse
from aiforge.storage import Storage

BUDGET_SPENT = "the teacher's budget is spent"
INVALID = "the teacher's reply is invalid"

# Tasks under way for each slot: one waits for the network while the other's reply is made durable.
_TASKS_PER_SLOT = 2
# A prompt has at most about one token for this many bytes.
_FEWEST_BYTES_PER_TOKEN = 2


@dataclass(frozen=True)
class TeacherPlan:
    """Everything that asking needs; picklable, and without any secret.

    Args:
        address: ``None`` where the model runs on the cluster.
        key_env: Variable that holds the endpoint's key where the asking is done.
    """

    storage_uri: str
    dataset_id: str
    config: TeacherConfig
    address: Address | None
    key_env: str | None = None


@dataclass
class Asked:
    """What came of asking about one chunk."""

    id: str
    pairs: list[Pair] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    cached: int = 0
    retries: int = 0
    repairs: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    estimated: bool = False
    unreachable: str = ""
    """Why no request for this chunk was answered, where none was."""

    def count(self, reply: Reply, payer: str) -> None:
        """Count a reply as paid for, or as another dataset's."""
        if reply.payer != payer:
            self.cached += 1
            return
        self.requests += 1
        self.prompt_tokens += reply.prompt_tokens
        self.reply_tokens += reply.reply_tokens
        self.estimated |= reply.estimated


class BudgetSpent(Exception):
    """Another request could exceed the budget."""


class Budget:
    """Requests and tokens that one dataset may pay for; what is under way is set aside."""

    def __init__(self, requests: int | None, tokens: int | None, spent: Spent) -> None:
        self._limits = requests, tokens
        self._used = [spent.requests, spent.tokens]
        self._aside = [0, 0]
        self._changed = asyncio.Condition()

    async def reserve(self, tokens: int) -> None:
        """Set one request of at most so many tokens aside.

        Waits while only what is under way stands against it, as that may cost less.

        Raises:
            BudgetSpent: It does not fit any more.
        """
        async with self._changed:
            while not self._fits(tokens):
                if not self._aside[0]:
                    raise BudgetSpent
                await self._changed.wait()
            self._aside[0] += 1
            self._aside[1] += tokens

    async def settle(self, reserved: int, used: int | None) -> None:
        """Count what a request cost; ``None`` where it was not answered and costs nothing."""
        async with self._changed:
            self._aside[0] -= 1
            self._aside[1] -= reserved
            if used is not None:
                self._used[0] += 1
                self._used[1] += used
            self._changed.notify_all()

    def _fits(self, tokens: int) -> bool:
        wanted = (1, tokens)
        return all(
            limit is None or used + aside + want <= limit
            for limit, used, aside, want in zip(
                self._limits, self._used, self._aside, wanted, strict=True
            )
        )


class Teacher:
    """Asks one endpoint; an async context manager."""

    def __init__(self, plan: TeacherPlan) -> None:
        config = plan.config
        assert plan.address is not None
        self._config = config
        self._address = plan.address
        self._endpoint = Endpoint(plan.address, config, plan.key_env)
        self._cache = ReplyCache(Storage(plan.storage_uri), config.model, plan.dataset_id)
        self._payer = plan.dataset_id
        self._budget = Budget(config.max_requests, config.max_total_tokens, self._cache.spent)
        self._slots = asyncio.Semaphore(config.slots)
        self._parameters = parameters(config)
        self._failures = 0

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._cache.close()
        finally:
            await self._endpoint.__aexit__(kind, error, trace)

    async def ask_all(self, tasks: Iterable[TeacherTask]) -> AsyncGenerator[Asked, None]:
        """Ask about chunks, many at a time; answers come as they are ready.

        Raises:
            Failure: ``teacher_refused``, ``disk_full``.
            Unavailable: ``teacher_unreachable``: as many requests in a row as there are slots
                were not answered.
        """
        waiting = iter(tasks)
        count = self._config.slots * _TASKS_PER_SLOT
        results: asyncio.Queue[Asked | Exception | None] = asyncio.Queue(count)

        async def work() -> None:
            try:
                for task in waiting:
                    await results.put(await self.ask(task))
            except Exception as error:
                await results.put(error)
            else:
                await results.put(None)

        workers = [asyncio.create_task(work()) for _ in range(count)]
        try:
            while count:
                found = await results.get()
                if isinstance(found, Exception):
                    raise found
                if found is None:
                    count -= 1
                else:
                    yield found
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def ask(self, task: TeacherTask) -> Asked:
        """Ask about one chunk; a reply without the right form is asked for once more."""
        asked = Asked(task.id)
        conversation = messages(task, self._config.questions_per_chunk)
        try:
            reply = await self._complete(conversation, asked)
            try:
                found = parse_reply(reply.text)
            except ValueError as error:
                asked.repairs += 1
                conversation = repair(conversation, reply.text, str(error))
                found = parse_reply((await self._complete(conversation, asked)).text)
        except BudgetSpent:
            asked.dropped[BUDGET_SPENT] += 1
        except NoAnswer as reason:
            asked.retries += reason.retries
            asked.dropped[str(reason)] += 1
            asked.unreachable = str(reason)
            self._count_failure(str(reason))
        except ValueError:
            asked.dropped[INVALID] += 1
        else:
            asked.pairs, asked.dropped = believed(task, found)
        return asked

    async def _complete(self, conversation: list[dict[str, str]], asked: Asked) -> Reply:
        """A reply from the cache or, within the budget, from the endpoint."""
        key = request_key(self._config.model, self._parameters, conversation)
        reply = self._cache.get(key)
        if reply is None:
            reply = await self._pay(key, conversation, asked)
        asked.count(reply, self._payer)
        return reply

    async def _pay(self, key: str, conversation: list[dict[str, str]], asked: Asked) -> Reply:
        body = {"model": self._config.model, "messages": conversation, **self._parameters}
        data = json.dumps(body).encode()
        most = len(data) // _FEWEST_BYTES_PER_TOKEN + self._config.max_tokens
        async with self._slots:
            await self._budget.reserve(most)
            cost: int | None = None
            try:
                reply, retries = await self._endpoint.complete(data)
                cost = reply.prompt_tokens + reply.reply_tokens
            finally:
                await self._budget.settle(most, cost)
        asked.retries += retries
        self._failures = 0
        return await self._cache.put(key, reply)

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= max(4, self._config.slots):
            raise unreachable(self._config, self._address, reason)


class Account:
    """Sums up what came of all chunks."""

    def __init__(self, plan: TeacherPlan) -> None:
        self._plan = plan
        self._use = TeacherUse(model=plan.config.model)
        self._dropped: Counter[str] = Counter()
        self._silence = ""

    def add(self, asked: Asked) -> None:
        """Count one chunk's answer."""
        use = self._use
        use.chunks += 1
        use.pairs += len(asked.pairs)
        self._dropped.update(asked.dropped)
        for name in ("requests", "cached", "retries", "repairs", "prompt_tokens", "reply_tokens"):
            setattr(use, name, getattr(use, name) + getattr(asked, name))
        use.tokens_estimated |= asked.estimated
        self._silence = asked.unreachable or self._silence

    def finish(self) -> TeacherUse:
        """The account.

        Raises:
            Unavailable: ``teacher_unreachable``: no request at all was answered.
        """
        use, config = self._use, self._plan.config
        address = self._plan.address
        if address and self._silence and not use.requests and not use.cached:
            raise unreachable(config, address, self._silence)
        use.dropped = dict(self._dropped.most_common())
        use.budget_spent = BUDGET_SPENT in self._dropped
        prices = config.price_per_million_prompt_tokens, config.price_per_million_reply_tokens
        if None not in prices:
            tokens = use.prompt_tokens, use.reply_tokens
            use.cost = sum(
                count * (price or 0.0) / 1e6 for count, price in zip(tokens, prices, strict=True)
            )
        return use


Ask = Callable[[TeacherPlan, list[TeacherTask]], Iterator[Asked]]
"""Asks about chunks, in this process or on a cluster; answers come in any order."""


def ask_here(plan: TeacherPlan, tasks: list[TeacherTask]) -> Iterator[Asked]:
    """Ask about chunks from this process.

    Raises:
        Failure: As ``Teacher.ask_all``; also what the endpoint's name resolves to is refused.
        Unavailable: As ``Teacher.ask_all``.
    """

    async def answers() -> AsyncGenerator[Asked, None]:
        async with Teacher(plan) as teacher, aclosing(teacher.ask_all(tasks)) as found:
            async for asked in found:
                yield asked

    with asyncio.Runner() as runner:
        found = answers()

        async def following() -> Asked | None:
            return await anext(found, None)

        async def close() -> None:
            await found.aclose()

        try:
            while (asked := runner.run(following())) is not None:
                yield asked
        finally:
            runner.run(close())


def parameters(config: TeacherConfig) -> dict[str, Any]:
    """What a request says beside the model and the conversation."""
    given: dict[str, Any] = {"temperature": config.temperature, "max_tokens": config.max_tokens}
    if config.structured:
        given["response_format"] = response_format()
    return given


def version_of(config: TeacherConfig) -> str:
    """What two teachers must share for their answers about a chunk to be the same."""
    parts = [PROMPT_VERSION, config.model, config.questions_per_chunk, parameters(config)]
    return json.dumps(parts, sort_keys=True)
