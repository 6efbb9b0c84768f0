"""A thin client of an Ollama server, which takes no answer at its word.

An error inside a 200 is an error, a stream that ends without ``done`` has failed, every call
has a time limit, and what is harmless to repeat is repeated. The interface is that of
https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import httpx

from aiforge.errors import Unavailable
from aiforge.serving import ollama_answers as answers
from aiforge.serving.chat import ChatOptions, ChatPiece, Message

T = TypeVar("T")

CONNECT_SECONDS = 3.0
CALL_SECONDS = 30.0
SILENCE_SECONDS = 300.0
"""How long a stream may say nothing: a large model takes minutes to be loaded."""

ATTEMPTS = 3
BACKOFF_SECONDS = 0.5

_BLOCK = 1 << 20

Progress = Callable[[float], None]
"""Told how much is done, 0 to 1."""


@dataclass(frozen=True)
class Shown:
    """What a server says that a model is made of."""

    template: str
    parameters: str

    @property
    def stop(self) -> list[str]:
        """The stop texts among the parameters, which come as lines of a Modelfile."""
        found = []
        for line in self.parameters.splitlines():
            name, _, value = line.strip().partition(" ")
            if name == "stop":
                found.append(_unquoted(value.strip()))
        return found


class Ollama:
    """One Ollama server.

    Args:
        url: Its address.
        transport: Carries the requests instead of the network, in tests.
        timeout: Seconds for a call that only looks something up.
        silence: Seconds that a stream may say nothing.
        attempts: How often a call that is harmless to repeat is tried.

    Raises:
        Unavailable: From every method: the server cannot be reached (``ollama_unreachable``), is
            too slow (``ollama_timeout``), went away in the middle (``ollama_interrupted``), or
            has no room (``ollama_disk_full``).
        Failure: From every method: it refused or failed (``ollama_failed``).
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = CALL_SECONDS,
        silence: float = SILENCE_SECONDS,
        attempts: int = ATTEMPTS,
        backoff: float = BACKOFF_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._backoff = backoff
        self._silence = httpx.Timeout(silence, connect=CONNECT_SECONDS)
        self._http = httpx.Client(
            base_url=self.url,
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
            # A proxy of the environment has no business between two servers of one machine.
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Ollama:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def version(self) -> str:
        """The server's version, as ``0.33.1``."""
        return str(self._json("GET", "/api/version").get("version", ""))

    def tags(self) -> dict[str, str]:
        """The digest of every model that the server has, by name."""
        return _digests(self._json("GET", "/api/tags"))

    def loaded(self) -> dict[str, str]:
        """The digest of every model that is in memory, by name."""
        return _digests(self._json("GET", "/api/ps"))

    def show(self, name: str) -> Shown:
        """What a model is made of.

        Raises:
            NotFound: The server has no such model (``ollama_model_missing``).
        """
        shown = self._json("POST", "/api/show", {"model": name})
        return Shown(str(shown.get("template") or ""), str(shown.get("parameters") or ""))

    def has_blob(self, digest: str) -> bool:
        """Whether the server has a file, named ``sha256:…``."""

        def ask() -> bool:
            answer = self._http.head(f"/api/blobs/{digest}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return False
            answers.check(answer)
            return True

        return self._repeated(ask)

    def push_blob(
        self, digest: str, size: int, open_: Callable[[], IO[bytes]], progress: Progress
    ) -> None:
        """Send a file in a stream; again from its beginning where the connection breaks."""

        def send() -> None:
            answer = self._http.post(
                f"/api/blobs/{digest}",
                content=_blocks(open_, size, progress),
                headers={"Content-Length": str(size)},
                timeout=self._silence,
            )
            answers.check(answer)

        self._repeated(send)

    def create(
        self, name: str, files: Mapping[str, str], stop: Sequence[str], progress: Progress
    ) -> None:
        """Make a model of files that were pushed; one of the same name is replaced.

        Args:
            files: Digests by the names that the files are to have.
            stop: Texts that end an answer.
        """
        body = {"model": name, "files": dict(files), "parameters": {"stop": list(stop)}}
        last: dict[str, Any] = {}
        for last in self._lines("/api/create", body):
            if last.get("total"):
                progress(float(last.get("completed", 0)) / float(last["total"]))
        if last.get("status") != "success":
            raise answers.interrupted(f"its answer to the creation of {name} has no end")

    def copy(self, source: str, target: str) -> None:
        """Give a model a second name; what had that name before loses it.

        Raises:
            NotFound: The server has no such model (``ollama_model_missing``).
        """
        self._json("POST", "/api/copy", {"source": source, "destination": target})

    def delete(self, name: str) -> None:
        """Take a model's name away, and its files where nothing else uses them.

        Raises:
            NotFound: The server has no such model (``ollama_model_missing``).
        """
        self._json("DELETE", "/api/delete", {"model": name})

    def warm(self, name: str) -> None:
        """Have a model loaded into memory."""
        _last(self._lines("/api/generate", {"model": name}), name)

    def chat(
        self, name: str, messages: Sequence[Message], options: ChatOptions
    ) -> Iterator[ChatPiece]:
        """A model's answer as it is made; its last piece has ``finish`` and the server's counts.

        Raises:
            NotFound: The server has no such model (``ollama_model_missing``).
        """
        wanted: dict[str, Any] = {
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "seed": options.seed,
            "num_predict": -1 if options.max_tokens is None else options.max_tokens,
        }
        if options.stop:
            wanted["stop"] = list(options.stop)
        body = {"model": name, "messages": list(messages), "options": wanted, "stream": True}
        for line in self._lines("/api/chat", body):
            message = line.get("message")
            text = str(message.get("content") or "") if isinstance(message, dict) else ""
            if not line.get("done"):
                yield ChatPiece(text)
                continue
            finish = "length" if line.get("done_reason") == "length" else "stop"
            yield ChatPiece(
                text,
                "length" if finish == "length" else "stop",
                _count(line, "prompt_eval_count"),
                _count(line, "eval_count"),
            )
            return
        raise answers.interrupted(f"the answer of {name} has no end")

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            answer = self._http.request(method, path, json=body)
            answers.check(answer)
            if not answer.content.strip():
                return {}
            return answers.parsed(answer.content)

        return self._repeated(ask)

    def _lines(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a stream says, line by line; an error among the lines is raised."""
        with (
            answers.told(self.url),
            self._http.stream("POST", path, json=body, timeout=self._silence) as answer,
        ):
            if answer.is_error:
                answer.read()
            answers.check(answer)
            for line in answers.split(answer.iter_bytes()):
                yield answers.parsed(line)

    def _repeated(self, ask: Callable[[], T]) -> T:
        for attempt in range(1, self._attempts + 1):
            try:
                with answers.told(self.url):
                    return ask()
            except Unavailable as error:
                if attempt == self._attempts or error.code == "ollama_disk_full":
                    raise
                time.sleep(self._backoff * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")


def _last(lines: Iterator[dict[str, Any]], name: str) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in lines:
        if last.get("done"):
            return last
    raise answers.interrupted(f"the answer of {name} has no end")


def _blocks(open_: Callable[[], IO[bytes]], size: int, progress: Progress) -> Iterator[bytes]:
    sent = 0
    with open_() as stream:
        while block := stream.read(_BLOCK):
            yield block
            sent += len(block)
            progress(sent / size if size else 1.0)


def _digests(answer: Mapping[str, Any]) -> dict[str, str]:
    models = answer.get("models") or []
    return {
        str(model.get("name") or model.get("model")): str(model.get("digest"))
        for model in models
        if isinstance(model, dict)
    }


def _count(line: Mapping[str, Any], key: str) -> int | None:
    value = line.get(key)
    return value if isinstance(value, int) else None


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(value))
    return value
