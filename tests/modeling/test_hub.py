"""Asking the hub, played by a local HTTP server that answers as the hub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aiforge.errors import Failure, InvalidInput
from aiforge.modeling import hub
from aiforge.modeling.bases import BaseModel, resolve_base_model, tokenizer_json
from aiforge.settings import Settings

LLAMA = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}).encode()


class Hub(BaseHTTPRequestHandler):
    """Answers ``GET /owner/name/resolve/<revision>/config.json``."""

    release = threading.Event()

    def do_GET(self) -> None:
        name = self.path.split("/")[2]
        if name == "silent":
            self.release.wait(30)
        status, headers, body = {
            "good": (200, {"X-Repo-Commit": "c0ffee"}, LLAMA),
            "moved": (307, {"Location": "/owner/good/resolve/main/config.json"}, b""),
            "gated": (401, {"X-Error-Code": "GatedRepo"}, b""),
            "nothing": (404, {"X-Error-Code": "EntryNotFound"}, b""),
            "broken": (200, {}, b"{"),
            "huge": (200, {}, b" " * (hub.MAX_CONFIG_BYTES + 1)),
            "busy": (503, {}, b""),
        }.get(name, (401, {"X-Error-Code": "RepoNotFound"}, b""))
        try:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    Hub.release.clear()
    yield
    Hub.release.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["owner/good", "owner/moved"])
def test_a_model_on_the_hub_is_pinned_to_its_commit(name: str) -> None:
    base = resolve_base_model(name, Settings(), timeout=10)

    assert (base.location, base.is_local) == (name, False)
    assert base.revision == ("c0ffee" if name == "owner/good" else None)


def test_an_alias_names_its_hub_id_and_a_revision_can_be_given() -> None:
    with pytest.raises(InvalidInput, match="no such model"):
        resolve_base_model("Llama-3.2-3B", Settings(), timeout=10)

    assert resolve_base_model("owner/good@v1", Settings(), timeout=10).location == "owner/good"


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("owner/absent", "not_found", "HF_TOKEN"),
        ("owner/gated", "gated", "licence"),
        ("owner/nothing", "not_a_model", "config.json"),
        ("owner/broken", "not_a_model", "not JSON"),
        ("owner/huge", "not_a_model", "too large"),
        ("owner/busy", "hub_unreachable", "503"),
    ],
)
def test_every_other_answer_is_refused_with_a_remedy(name: str, reason: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        resolve_base_model(name, Settings(), timeout=10)

    assert caught.value.detail["reason"] == reason


def test_a_silent_hub_is_not_waited_for() -> None:
    with pytest.raises(InvalidInput, match="cannot be reached") as caught:
        resolve_base_model("owner/silent", Settings(), timeout=0.2)

    assert caught.value.detail["reason"] == "hub_unreachable"


def test_offline_means_that_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(InvalidInput, match="HF_HUB_OFFLINE"):
        resolve_base_model("owner/good", Settings(), timeout=10)


def test_a_cached_model_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    snapshot = tmp_path / "models--owner--cached" / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(LLAMA)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc123")

    assert resolve_base_model("owner/cached", Settings()).revision == "abc123"


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(Failure, match="forge-tiny"):
        tokenizer_json(BaseModel("x", "owner/x", None, is_local=False))
    with pytest.raises(Failure, match="forge-tiny"):
        hub.download("owner/x", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b", True), ("A.b-c/d_e", True), ("a", False), ("a/b/c", False), ("../b", False),
     ("a/..", False), ("a/b--c", False), ("-a/b", False), ("a/b\n", False)],
)  # fmt: skip
def test_only_owner_and_name_make_a_hub_id(name: str, expected: bool) -> None:
    assert hub.is_hub_id(name) is expected
