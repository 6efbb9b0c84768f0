"""An Ollama server for tests: it keeps blobs and generates with the GGUF that it was given.

It behaves as a real one (0.33) was measured to, the traps included; its misfortunes are switched
on by ``Faults``. What it answers comes from llama.cpp, so that a wrong template, a wrong stop text
or a broken file shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf

from aiforge.errors import AIForgeError
from aiforge.serving.chat import ChatOptions
from aiforge.serving.llama import LlamaModel

VERSION = "0.33.1"
SIMILAR = 100
"""Edit distance up to which a template is taken for one that is known."""

_CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_OWN_CHATML = "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}" + _CHATML
KNOWN = {_CHATML: _OWN_CHATML}
"""Templates that it recognises, and what it puts in their place."""


@dataclass
class Faults:
    """What goes wrong; a number counts how often, a path names the call that it happens in."""

    replace_similar: bool = True
    replace_all_templates: bool = False
    concurrent_creates_fail: bool = True
    rewrite_file: bool = False
    disk_full: bool = False
    version: str = VERSION
    lose_blobs: int = 0
    fail_creates: int = 0
    error_in_200: set[str] = field(default_factory=set)
    no_done: set[str] = field(default_factory=set)
    die_in: set[str] = field(default_factory=set)
    die_half_way: bool = False
    """In the middle of the next file that it is sent."""
    die_after: str | None = None
    """Once it has answered this call; then it is gone for every other."""
    truncate_blobs: bool = False
    hang_in: set[str] = field(default_factory=set)
    drop_stop: bool = False
    silent: bool = False
    move_latest: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What a name stands for."""

    blob: str
    template: str
    stop: tuple[str, ...]

    @property
    def digest(self) -> str:
        text = json.dumps([self.blob, self.template, self.stop])
        return hashlib.sha256(text.encode()).hexdigest()


class OllamaDouble:
    """The server's contents and behaviour; ``serve`` puts it on a port."""

    def __init__(self, directory: Path) -> None:
        self.blobs = directory
        self.faults = Faults()
        self.calls: list[str] = []
        self.names: dict[str, Manifest] = {}
        self.released = threading.Event()
        self._loaded: dict[str, LlamaModel] = {}
        self._in_memory: dict[str, str] = {}
        self._creating = 0
        self.is_dead = False
        self._lock = threading.RLock()

    def path_of(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "-")

    def receive(self, digest: str, content: Iterator[bytes]) -> tuple[int, dict[str, Any]]:
        hasher = hashlib.sha256()
        partial = self.blobs / f"partial-{threading.get_ident()}"
        with partial.open("wb") as file:
            for block in content:
                if self.faults.disk_full:
                    return 500, {"error": "write blob: no space left on device"}
                hasher.update(block)
                file.write(block)
        if f"sha256:{hasher.hexdigest()}" != digest:
            partial.unlink()
            return 400, {"error": "digest mismatch"}
        if self.faults.lose_blobs:
            self.faults.lose_blobs -= 1
            partial.unlink()
        else:
            if self.faults.truncate_blobs:
                os.truncate(partial, partial.stat().st_size // 2)
            partial.replace(self.path_of(digest))
        return 201, {}

    def create(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._lock:
            self._creating += 1
            crowded = self._creating > 1
        try:
            yield {"status": "parsing GGUF"}
            yield self._create(body, crowded)
        finally:
            with self._lock:
                self._creating -= 1

    def _create(self, body: dict[str, Any], crowded: bool) -> dict[str, Any]:
        (digest,) = body["files"].values()
        path = self.path_of(digest)
        if crowded and self.faults.concurrent_creates_fail:
            return {"error": f"open {path}: no such file or directory"}
        if self.faults.fail_creates:
            self.faults.fail_creates -= 1
            path.unlink(missing_ok=True)
            return {"error": f"open {path}: no such file or directory"}
        if not path.exists():
            return {"error": f"open {path}: no such file or directory"}
        try:
            template = template_of(path)
        except Exception as error:
            return {"error": f"invalid file: {error}"}
        if self.faults.rewrite_file:
            digest = self._rewritten(path)
        stop = () if self.faults.drop_stop else tuple(body["parameters"]["stop"])
        with self._lock:
            self.names[_full(body["model"])] = Manifest(digest, self._kept(template), stop)
        return {"status": "success"}

    def _kept(self, template: str) -> str:
        if self.faults.replace_all_templates:
            return _OWN_CHATML
        if self.faults.replace_similar:
            for known, own in KNOWN.items():
                if distance(template, known, SIMILAR) <= SIMILAR:
                    return own
        return template

    def _rewritten(self, path: Path) -> str:
        content = path.read_bytes() + bytes(32)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.path_of(digest).write_bytes(content)
        return digest

    def load(self, name: str) -> LlamaModel:
        manifest = self.names[_full(name)]
        with self._lock:
            self._in_memory[_full(name)] = manifest.digest
            if manifest.digest not in self._loaded:
                # Two threads that wait for each other on a busy machine are slower than one.
                model = LlamaModel(self.path_of(manifest.blob), 512, threads=1)
                model.template = manifest.template
                self._loaded[manifest.digest] = model
            return self._loaded[manifest.digest]

    def chat(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        options = body.get("options", {})
        manifest = self.names[_full(body["model"])]
        wanted = ChatOptions(
            temperature=options.get("temperature", 0.8),
            top_p=options.get("top_p", 0.9),
            seed=options.get("seed", 0),
            max_tokens=None if (most := options.get("num_predict", -1)) < 0 else most,
            stop=options.get("stop", manifest.stop),
        )
        head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        for piece in self.load(body["model"]).chat(body["messages"], wanted):
            text = "" if self.faults.silent else piece.text
            line = head | {"message": {"role": "assistant", "content": text}, "done": False}
            if piece.finish:
                line |= {
                    "done": True,
                    "done_reason": piece.finish,
                    "prompt_eval_count": piece.prompt_tokens,
                    "eval_count": 0 if self.faults.silent else piece.completion_tokens,
                    "eval_duration": 1,
                }
            yield line

    def tags(self) -> dict[str, Any]:
        with self._lock:
            models = [
                {"name": name, "model": name, "digest": manifest.digest, "size": 1}
                for name, manifest in self.names.items()
            ]
        return {"models": models}

    def ps(self) -> dict[str, Any]:
        with self._lock:
            models = [{"name": n, "model": n, "digest": d} for n, d in self._in_memory.items()]
        return {"models": models}

    def close(self) -> None:
        self.released.set()
        for model in self._loaded.values():
            model.close()
        self._loaded.clear()


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def template_of(path: Path) -> str:
    """The chat template that a GGUF embeds."""
    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    return bytes(field.parts[field.data[0]]).decode()


@cache
def distance(first: str, second: str, limit: int) -> int:
    """Levenshtein's edit distance, or more than ``limit``."""
    if abs(len(first) - len(second)) > limit:
        return limit + 1
    previous = list(range(len(second) + 1))
    for row, left in enumerate(first, start=1):
        current = [row]
        for column, right in enumerate(second, start=1):
            current.append(
                min(
                    previous[column] + 1,
                    current[-1] + 1,
                    previous[column - 1] + (left != right),
                )
            )
        previous = current
    return previous[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: OllamaDouble

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        if self._misfortune():
            return
        known = self.double.path_of(self.path.rpartition("/")[2]).exists()
        self._plain(200 if known else 404, b"")

    def do_GET(self) -> None:
        if self._misfortune():
            return
        answers: dict[str, Any] = {
            "/api/version": lambda: {"version": self.double.faults.version},
            "/api/tags": self.double.tags,
            "/api/ps": self.double.ps,
        }
        self._json(200, answers[self.path]())

    def do_DELETE(self) -> None:
        body = self._body()
        if self._misfortune():
            return
        found = self.double.names.pop(_full(body["model"]), None)
        self._json(*(200, {}) if found else _missing(body["model"]))

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            if not self._misfortune():
                self._json(*self.double.receive(self.path.rpartition("/")[2], self._blocks()))
            return
        body = self._body()
        if self._misfortune():
            return
        if self.path == "/api/create":
            self._stream(self.double.create(body))
        elif self.path == "/api/copy":
            self._copy(body)
        elif _full(body["model"]) not in self.double.names:
            self._json(*_missing(body["model"]))
        elif self.path == "/api/show":
            self._show(self.double.names[_full(body["model"])])
        elif self.path == "/api/generate":
            self.double.load(body["model"])
            done = {"model": body["model"], "response": "", "done": True, "done_reason": "load"}
            self._stream(iter([done]))
        elif self.path == "/api/chat":
            self._stream(self.double.chat(body))

    def _copy(self, body: dict[str, Any]) -> None:
        manifest = self.double.names.get(_full(body["source"]))
        if manifest is None:
            return self._json(*_missing(body["source"]))
        if self.double.faults.move_latest:
            manifest = self.double.names[self.double.faults.move_latest]
        self.double.names[_full(body["destination"])] = manifest
        return self._plain(200, b"")

    def _show(self, manifest: Manifest) -> None:
        lines = [f"{'stop':<30} {json.dumps(text)}" for text in manifest.stop]
        self._json(200, {"template": manifest.template, "parameters": "\n".join(lines)})

    def _misfortune(self) -> bool:
        """Whether something happens in this call instead of its answer."""
        faults, path = self.double.faults, re.sub(r"/sha256.*", "", self.path)
        call = f"{self.command} {path}"
        self.double.calls.append(call)
        if call in faults.hang_in:
            self.double.released.wait(60)
        if self.double.is_dead or call in faults.die_in or call in faults.hang_in:
            self._cut()
            return True
        if path in faults.error_in_200:
            self._json(200, {"error": "something went wrong"})
            return True
        return False

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        found: dict[str, Any] = json.loads(self.rfile.read(length) or b"{}")
        return found

    def _blocks(self) -> Iterator[bytes]:
        left = whole = int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, 1 << 16))):
            left -= len(block)
            if self.double.faults.die_half_way and 2 * left < whole:
                self._cut()
                raise ConnectionResetError("The server was killed in the middle of a file.")
            yield block
        # A refusal is read by the client only once it has sent everything.
        self.rfile.read(left)

    def _stream(self, lines: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        broken = self.path in self.double.faults.no_done
        dies = f"answer {self.path}" in self.double.faults.die_in
        with suppress(BrokenPipeError, ConnectionResetError):
            try:
                for line in lines:
                    if broken and (line.get("done") or line.get("status") == "success"):
                        break
                    self._chunk(json.dumps(line).encode() + b"\n")
                    if dies:
                        self._cut()
            except AIForgeError as error:
                self._chunk(json.dumps({"error": error.message}).encode() + b"\n")
            self._chunk(b"")
        if self.double.faults.die_after == self.path:
            self.double.is_dead = True

    def _cut(self) -> None:
        """End the connection as a process that was killed does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._plain(status, json.dumps(body).encode())

    def _plain(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _missing(name: str) -> tuple[int, dict[str, Any]]:
    return 404, {"error": f"model '{name}' not found"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that were cut on purpose are no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(double: OllamaDouble, port: int = 0) -> Iterator[str]:
    """The address of a server of the double, as long as the block lasts."""
    handler = type("Handler", (_Handler,), {"double": double})
    server = _Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        double.close()
        server.shutdown()
        server.server_close()
        thread.join()


def clear(directory: Path, keep: Sequence[str] = ()) -> None:
    """Take the blobs away, as a disk that was cleaned up by hand."""
    for path in directory.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
