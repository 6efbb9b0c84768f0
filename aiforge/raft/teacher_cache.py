"""Replies that were paid for: each is durable before anyone uses it, and never asked for again.

A cache is a directory of segments, files of one JSON line per reply. Each process that writes has
a segment of its own. On a local disk lines are appended and flushed to the disk, as many at a time
as have arrived meanwhile; an object store gets an object for each such group. A line that a crash
has cut off is ignored.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiforge.errors import Failure
from aiforge.schemas.common import new_id
from aiforge.storage import Storage, teacher_dir


@dataclass(frozen=True)
class Reply:
    """What a teacher answered, its size in tokens, and which dataset paid for it.

    Tokens are as the endpoint counted them, else guessed from the lengths (``estimated``).
    """

    text: str
    prompt_tokens: int
    reply_tokens: int
    estimated: bool = False
    payer: str = ""


@dataclass(frozen=True)
class Spent:
    """What one dataset has paid for so far."""

    requests: int = 0
    tokens: int = 0


def request_key(model: str, parameters: Mapping[str, Any], messages: Sequence[Any]) -> str:
    """Name of a request: equal requests have equal names."""
    text = json.dumps([model, dict(parameters), list(messages)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ReplyCache:
    """The replies of one model under a storage.

    Args:
        model: Name of the model.
        payer: Whose budget new replies count for: a dataset's id.
    """

    def __init__(self, storage: Storage, model: str, payer: str) -> None:
        self._storage = storage
        self._directory = teacher_dir(hashlib.sha256(model.encode()).hexdigest()[:20])
        self._payer = payer
        self._segment = f"{new_id('run')}.jsonl"
        self._places: dict[str, tuple[str, int, int]] = {}
        self._fresh: dict[str, Reply] = {}
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._groups = 0
        requests, tokens = 0, 0
        for name in storage.names(self._directory):
            for row in self._index(name):
                if row["payer"] == payer:
                    requests += 1
                    tokens += row["promptTokens"] + row["replyTokens"]
        self.spent = Spent(requests, tokens)
        """What ``payer`` had paid when the cache was opened."""

    def __len__(self) -> int:
        return len(self._places) + len(self._fresh)

    def get(self, key: str) -> Reply | None:
        """The reply to a request, if it was ever paid for."""
        if key in self._fresh:
            return self._fresh[key]
        if key not in self._places:
            return None
        name, offset, length = self._places[key]
        with self._storage.open_input(f"{self._directory}/{name}") as stream:
            stream.seek(offset)
            row = json.loads(stream.read(length))
        return Reply(
            row["text"], row["promptTokens"], row["replyTokens"], row["estimated"], row["payer"]
        )

    async def put(self, key: str, reply: Reply) -> Reply:
        """Keep a reply, and return it once it would survive a crash of the machine."""
        reply = replace(reply, payer=self._payer)
        row = {
            "key": key,
            "payer": self._payer,
            "text": reply.text,
            "promptTokens": reply.prompt_tokens,
            "replyTokens": reply.reply_tokens,
            "estimated": reply.estimated,
        }
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((json.dumps(row).encode() + b"\n", done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await asyncio.shield(done)
        self._fresh[key] = reply
        return reply

    async def close(self) -> None:
        """Wait until everything that was put is durable."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def _write(self) -> None:
        """Write what is pending until nothing is; what arrives meanwhile makes the next group."""
        try:
            while self._pending:
                group, self._pending = self._pending, []
                try:
                    await asyncio.to_thread(self._append, b"".join(line for line, _ in group))
                except OSError as error:
                    # What was written of it ends in half a line, which nothing may follow.
                    self._segment = f"{new_id('run')}.jsonl"
                    for _, done in group:
                        if not done.done():
                            done.set_exception(_lost(error))
                else:
                    for _, done in group:
                        if not done.done():
                            done.set_result(None)
        finally:
            self._writer = None

    def _append(self, data: bytes) -> None:
        if not self._storage.is_local:
            self._groups += 1
            name = self._segment.replace(".jsonl", f"-{self._groups:06d}.jsonl")
            self._storage.write_bytes(f"{self._directory}/{name}", data)
            return
        directory = Path(self._storage.full(self._directory))
        path = directory / self._segment
        fresh = not path.exists()
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if fresh:
            descriptor = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _index(self, name: str) -> list[dict[str, Any]]:
        """Note where the replies of a segment stand; returns its rows without their texts."""
        data = self._storage.read_bytes(f"{self._directory}/{name}")
        rows = []
        offset = 0
        for line in data.splitlines(keepends=True):
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                self._places[row["key"]] = name, offset, len(line)
                rows.append({k: row[k] for k in ("payer", "promptTokens", "replyTokens")})
            offset += len(line)
        return rows


def _lost(error: OSError) -> Failure:
    return Failure(
        f"A teacher's reply cannot be stored ({error.strerror or error}). Free some space under "
        "the storage, then generate again: the replies before it are kept.",
        code="disk_full" if error.errno == errno.ENOSPC else "storage_failed",
    )
