"""Server-sent events, parsed without input or output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One event of a stream; ``id`` is what ``Last-Event-ID`` resumes after."""

    event: str
    data: str
    id: str


class Parser:
    """Turns bytes into messages, as https://html.spec.whatwg.org/#event-stream-interpretation.

    Bytes may be cut anywhere; comments (heartbeats) are dropped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self.last_id = ""

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The messages that these bytes complete."""
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            message = self._line(line.decode("utf-8", "replace"))
            if message:
                yield message

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        return None

    def _dispatch(self) -> Message | None:
        data, event = self._data, self._event
        self._data, self._event = [], ""
        return Message(event or "message", "\n".join(data), self.last_id) if data else None
