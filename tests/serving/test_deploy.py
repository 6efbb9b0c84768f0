"""What each misfortune of a server leads to: a clear failure, and the old model still active."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from exported_models import STOP, gguf_file
from ollama_double import OllamaDouble

from aiforge.errors import AIForgeError, Cancelled, Conflict, Failure, Unavailable
from aiforge.serving.chat import ChatOptions, Message
from aiforge.serving.deploy import Deployed, GgufFile, activate, deploy, settle
from aiforge.serving.ollama import Ollama

Count = Callable[[Sequence[Message]], int]
V1, V2, LATEST = "p:v1", "p:v2", "p:latest"


def quiet(done: float, what: str) -> None:
    """Tell nobody."""


@pytest.fixture
def put(ollama: Ollama, tiny_file: GgufFile, count_tokens: Count) -> Callable[[str], Deployed]:
    def put(tag: str, file: GgufFile = tiny_file) -> Deployed:
        return deploy(ollama, tag, file, STOP, count_tokens, quiet)

    return put


@pytest.fixture
def another(tiny_gguf: Path, tmp_path: Path) -> GgufFile:
    """The same model in a file of another digest."""
    path = tmp_path / "other.gguf"
    path.write_bytes(tiny_gguf.read_bytes() + bytes(64))
    return gguf_file(path)


@pytest.fixture
def active(put: Callable[..., Deployed], ollama: Ollama, count_tokens: Count) -> Deployed:
    """Version 1, deployed and active."""
    first = put(V1)
    activate(ollama, V1, LATEST, first.digest, count_tokens, quiet)
    return first


def test_a_deployed_model_was_seen_to_answer(
    put: Callable[..., Deployed], double: OllamaDouble, ollama: Ollama
) -> None:
    found = put(V1)

    assert double.names[V1].digest == found.digest
    assert all(probe.completion_tokens for probe in found.probes)
    assert found.probes[1].prompt_tokens > found.probes[0].prompt_tokens
    assert ollama.show(V1).stop == STOP


def test_deploying_again_is_harmless_and_sends_nothing_twice(
    put: Callable[..., Deployed], double: OllamaDouble
) -> None:
    first = put(V1)
    double.calls.clear()

    assert put(V1).digest == first.digest
    assert "POST /api/blobs" not in double.calls


def test_activating_and_going_back(
    put: Callable[..., Deployed],
    active: Deployed,
    another: GgufFile,
    ollama: Ollama,
    count_tokens: Count,
) -> None:
    second = put(V2, another)
    assert ollama.tags()[LATEST] == active.digest

    activate(ollama, V2, LATEST, second.digest, count_tokens, quiet)
    assert ollama.tags()[LATEST] == second.digest != active.digest
    activate(ollama, V1, LATEST, active.digest, count_tokens, quiet)

    assert ollama.tags() == {V1: active.digest, V2: second.digest, LATEST: active.digest}


FAULTS = {
    "template replaced": ({"replace_all_templates": True}, "template_replaced"),
    "stop text dropped": ({"drop_stop": True}, "stop_dropped"),
    "no answer": ({"silent": True}, "probe_failed"),
    "disk full": ({"disk_full": True}, "ollama_disk_full"),
    "blobs lost": ({"lose_blobs": 9}, "ollama_blob_lost"),
    "creations fail": ({"fail_creates": 9}, "ollama_failed"),
    "error inside a 200 of create": ({"error_in_200": {"/api/create"}}, "ollama_failed"),
    "error inside a 200 of tags": ({"error_in_200": {"/api/tags"}}, "ollama_failed"),
    "error inside a 200 of chat": ({"error_in_200": {"/api/chat"}}, "ollama_failed"),
    "creation without an end": ({"no_done": {"/api/create"}}, "ollama_interrupted"),
    "answer without an end": ({"no_done": {"/api/chat"}}, "ollama_interrupted"),
    "dies while receiving": ({"die_in": {"POST /api/blobs"}}, "ollama_interrupted"),
    "dies while creating": ({"die_in": {"answer /api/create"}}, "ollama_interrupted"),
    "dies while answering": ({"die_in": {"answer /api/chat"}}, "ollama_interrupted"),
    "too old": ({"version": "0.5.4"}, "ollama_too_old"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_deployment_is_told_and_leaves_the_active_model(
    fault: str,
    put: Callable[..., Deployed],
    active: Deployed,
    another: GgufFile,
    double: OllamaDouble,
    ollama: Ollama,
) -> None:
    changes, code = FAULTS[fault]
    double.faults = replace(double.faults, **changes)  # type: ignore[arg-type]

    with pytest.raises(AIForgeError) as failed:
        put(V2, another)
    double.faults = type(double.faults)()

    assert failed.value.code == code
    kind = Unavailable if code in UNAVAILABLE else (Conflict, Failure)
    assert isinstance(failed.value, kind)
    assert ollama.tags()[LATEST] == ollama.tags()[V1] == active.digest
    if isinstance(failed.value, Conflict):
        assert V2 not in ollama.tags()
    # What went wrong is over: the same deployment succeeds now.
    assert put(V2, another).digest == ollama.tags()[V2]


UNAVAILABLE = {"ollama_disk_full", "ollama_interrupted"}


def test_a_server_that_is_away_is_named_with_the_remedy(
    tiny_file: GgufFile, count_tokens: Count
) -> None:
    with (
        Ollama("http://127.0.0.1:9", attempts=2, backoff=0.01) as away,
        pytest.raises(Unavailable, match="AIFORGE_OLLAMA_URL") as failed,
    ):
        deploy(away, V1, tiny_file, STOP, count_tokens, quiet)

    assert failed.value.code == "ollama_unreachable"
    assert failed.value.detail["retryAfter"]


def test_a_server_that_hangs_is_given_up(
    double: OllamaDouble, double_url: str, tiny_file: GgufFile, count_tokens: Count
) -> None:
    double.faults.hang_in = {"GET /api/version"}

    with (
        Ollama(double_url, timeout=0.2, attempts=2, backoff=0.01) as impatient,
        pytest.raises(Unavailable) as failed,
    ):
        deploy(impatient, V1, tiny_file, STOP, count_tokens, quiet)

    assert failed.value.code == "ollama_timeout"


def test_a_template_without_the_mark_is_replaced_and_refused(
    put: Callable[..., Deployed], tiny_gguf: Path, tmp_path: Path, ollama: Ollama
) -> None:
    """The worst trap: a template that looks like a known one is exchanged without a word."""
    from exported_models import write_tiny

    plain = gguf_file(write_tiny(tmp_path, "plain.gguf", marked=False))

    with pytest.raises(Conflict) as refused:
        put(V1, plain)

    assert refused.value.code == "template_replaced"
    assert V1 not in ollama.tags()


def test_another_prompt_length_is_refused(ollama: Ollama, tiny_file: GgufFile) -> None:
    with pytest.raises(Conflict) as refused:
        deploy(ollama, V1, tiny_file, STOP, lambda messages: 7, quiet)

    assert refused.value.code == "prompt_mismatch"
    assert refused.value.detail["expected"] == 7
    assert V1 not in ollama.tags()


def test_a_truncated_file_never_becomes_a_model(
    put: Callable[..., Deployed], tiny_file: GgufFile, ollama: Ollama, active: Deployed
) -> None:
    with tiny_file.open() as stream:
        content = stream.read(tiny_file.size // 2)
    cut = replace(tiny_file, sha256="3" * 64, size=len(content), open=lambda: io.BytesIO(content))

    with pytest.raises(Failure, match="digest"):
        put(V2, cut)

    assert set(ollama.tags()) == {V1, LATEST}


def test_a_truncated_file_under_its_own_digest_is_refused_too(
    put: Callable[..., Deployed], tiny_gguf: Path, tmp_path: Path, ollama: Ollama
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[: tiny_gguf.stat().st_size // 2])
    whole = gguf_file(tiny_gguf)
    cut = replace(gguf_file_of_cut(path), template=whole.template)

    with pytest.raises(AIForgeError):
        put(V1, cut)

    assert ollama.tags() == {}


def gguf_file_of_cut(path: Path) -> GgufFile:
    """A file whose template cannot be read any more."""
    import hashlib

    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return GgufFile("model.gguf", digest, len(content), lambda: path.open("rb"), "")


def test_a_rewritten_file_is_followed_by_its_new_digest(
    put: Callable[..., Deployed],
    double: OllamaDouble,
    tiny_file: GgufFile,
    ollama: Ollama,
    count_tokens: Count,
) -> None:
    double.faults.rewrite_file = True

    found = put(V1)
    activate(ollama, V1, LATEST, found.digest, count_tokens, quiet)

    assert double.names[V1].blob != f"sha256:{tiny_file.sha256}"
    assert ollama.tags()[LATEST] == found.digest


def test_one_creation_that_is_lost_is_made_again_with_its_file(
    put: Callable[..., Deployed], double: OllamaDouble
) -> None:
    double.faults.fail_creates = 1

    put(V1)

    assert double.calls.count("POST /api/blobs") == 2
    assert double.calls.count("POST /api/create") == 2


def test_cancelling_stops_in_the_middle_of_the_file(ollama: Ollama, tiny_file: GgufFile) -> None:
    def stop(done: float, what: str) -> None:
        if done > 0.3:
            raise Cancelled("Cancelled on request.")

    with pytest.raises(Cancelled):
        deploy(ollama, V1, tiny_file, STOP, lambda messages: 0, stop)

    assert ollama.tags() == {}
    assert not ollama.has_blob(f"sha256:{tiny_file.sha256}")


ACTIVATION = {
    "loads nothing": ({"error_in_200": {"/api/generate"}}, "ollama_failed"),
    "answers without an end": ({"no_done": {"/api/chat"}}, "ollama_interrupted"),
    "answers nothing": ({"silent": True}, "probe_failed"),
    "points somewhere else": ({"move_latest": V1}, "digest_mismatch"),
    "dies while answering": ({"die_in": {"answer /api/chat"}}, "ollama_interrupted"),
}


@pytest.mark.parametrize("fault", ACTIVATION)
def test_a_failed_activation_leaves_the_active_model(
    fault: str,
    put: Callable[..., Deployed],
    active: Deployed,
    another: GgufFile,
    double: OllamaDouble,
    ollama: Ollama,
    count_tokens: Count,
) -> None:
    second = put(V2, another)
    changes, code = ACTIVATION[fault]
    double.faults = replace(double.faults, **changes)  # type: ignore[arg-type]

    with pytest.raises(AIForgeError) as failed:
        activate(ollama, V2, LATEST, second.digest, count_tokens, quiet)

    assert failed.value.code == code
    assert ollama.tags()[LATEST] == active.digest


def test_a_failed_first_activation_leaves_no_latest(
    put: Callable[..., Deployed], double: OllamaDouble, ollama: Ollama, count_tokens: Count
) -> None:
    first = put(V1)
    double.faults.silent = True

    with pytest.raises(Conflict):
        activate(ollama, V1, LATEST, first.digest, count_tokens, quiet)

    assert set(ollama.tags()) == {V1}


def test_a_model_that_was_deleted_on_the_server_is_missed(
    active: Deployed, ollama: Ollama, count_tokens: Count
) -> None:
    ollama.delete(V1)

    with pytest.raises(Conflict) as failed:
        activate(ollama, V1, LATEST, active.digest, count_tokens, quiet)

    assert failed.value.code == "model_not_on_server"
    assert ollama.tags()[LATEST] == active.digest


def test_an_activation_that_died_is_undone_by_the_next_who_comes(
    put: Callable[..., Deployed], active: Deployed, another: GgufFile, ollama: Ollama
) -> None:
    second = put(V2, another)
    # It died behind the copy, before anything was recorded.
    ollama.copy(V2, LATEST)
    assert ollama.tags()[LATEST] == second.digest

    put_right = settle(ollama, [(V1, LATEST, active.digest)])

    assert put_right == [LATEST]
    assert ollama.tags()[LATEST] == active.digest
    assert settle(ollama, [(V1, LATEST, active.digest)]) == []


def test_creations_at_once_fail_on_the_server_itself(
    ollama: Ollama, double: OllamaDouble, tiny_file: GgufFile
) -> None:
    """Why there is one lock per server: the double loses them as the real one does."""
    digest = f"sha256:{tiny_file.sha256}"
    ollama.push_blob(digest, tiny_file.size, tiny_file.open, lambda done: None)
    first = double.create({"model": V1, "files": {"a": digest}, "parameters": {"stop": []}})
    next(first)
    second = double.create({"model": V2, "files": {"a": digest}, "parameters": {"stop": []}})

    assert [line for line in second if "error" in line]
    list(first)
    assert threading.active_count()


def test_the_answer_ends_where_the_turn_does(active: Deployed, ollama: Ollama) -> None:
    ask: list[Message] = [{"role": "user", "content": "Say it."}]

    text = "".join(p.text for p in ollama.chat(LATEST, ask, ChatOptions(max_tokens=48)))

    assert "<|im_end|>" not in text
