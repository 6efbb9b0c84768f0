"""An OpenAI-compatible endpoint on this machine that answers from the document it is shown.

python teacher_server.py SECONDS     prints its port, and answers after SECONDS
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_DOCUMENT = re.compile(r"<DOCUMENT ([^>]*)>\n(.*?)\n</DOCUMENT>", re.DOTALL)


def answer_of(body: dict[str, Any], count: int = 2) -> str:
    """A faithful reply: each question is about one line of the document, which it quotes."""
    path, text = _DOCUMENT.findall(body["messages"][1]["content"])[0]
    lines = [line.strip() for line in text.split("\n") if len(line.split()) > 2] or [text.strip()]
    pairs = [
        {
            "question": f"What stands on line {number} of the part of {path} in which it is?",
            "reason": "It is said in so many words.",
            "quotes": [line],
            "answer": f"It says: {line}",
        }
        for number, line in enumerate(lines[:count], 1)
    ]
    return json.dumps({"pairs": pairs})


def completion(text: str, prompt: int = 100, reply: int = 50) -> dict[str, Any]:
    """The body of a chat completion."""
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": reply},
    }


class Server:
    """Counts what it is asked; ``most`` is how many requests were under way at a time."""

    def __init__(self, seconds: float, answer: Callable[[dict[str, Any]], str]) -> None:
        self._seconds = seconds
        self._answer = answer
        self.requests = 0
        self.keys: list[str | None] = []
        self.most = 0
        self._now = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._one(head.decode("latin-1"), reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
        headers = {name.lower(): value for name, _, value in lines}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        if not head.startswith("POST /v1/chat/completions "):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno such")
            return
        self.requests += 1
        self.keys.append(headers.get("authorization"))
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(self._seconds)
        self._now -= 1
        data = json.dumps(completion(self._answer(body))).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data) + data
        )
        await writer.drain()


@contextmanager
def teacher_server(
    seconds: float = 0.0, answer: Callable[[dict[str, Any]], str] = answer_of
) -> Iterator[tuple[str, Server]]:
    """Serve from a thread; gives the endpoint's URL."""
    server = Server(seconds, answer)
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(
        asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


async def _main(seconds: float) -> None:
    server = Server(seconds, answer_of)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
