"""What this platform relies on of an Ollama server: the double has it, and a real one.

The real one is asked where ``AIFORGE_TEST_OLLAMA=1`` is set, at ``AIFORGE_OLLAMA_URL``.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest
from exported_models import STOP

from aiforge.errors import Failure, NotFound
from aiforge.serving.chat import ChatOptions, Message
from aiforge.serving.deploy import GgufFile
from aiforge.serving.ollama import Ollama

Count = Callable[[Sequence[Message]], int]


@pytest.fixture(params=["double", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Ollama]:
    if request.param == "double":
        yield request.getfixturevalue("ollama")
        return
    if os.environ.get("AIFORGE_TEST_OLLAMA") != "1":
        pytest.skip("AIFORGE_TEST_OLLAMA=1 asks for a real server at AIFORGE_OLLAMA_URL")
    with Ollama(os.environ.get("AIFORGE_OLLAMA_URL", "http://127.0.0.1:11434")) as client:
        yield client


@pytest.fixture
def name(server: Ollama) -> Iterator[str]:
    """A name that nothing has yet, and nothing after the test."""
    repository = f"aiforge-test-{uuid.uuid4().hex[:8]}"
    yield f"{repository}:v1"
    for known in server.tags():
        if known.startswith(repository):
            server.delete(known)


def push(server: Ollama, file: GgufFile) -> str:
    digest = f"sha256:{file.sha256}"
    if not server.has_blob(digest):
        server.push_blob(digest, file.size, file.open, lambda done: None)
    return digest


@pytest.fixture
def created(server: Ollama, name: str, tiny_file: GgufFile) -> str:
    server.create(name, {"m.gguf": push(server, tiny_file)}, STOP, lambda done: None)
    return name


def test_it_says_its_version(server: Ollama) -> None:
    assert server.version().count(".") >= 1


def test_a_file_is_there_once_it_was_sent(server: Ollama, tiny_file: GgufFile) -> None:
    seen: list[float] = []
    digest = f"sha256:{tiny_file.sha256}"

    server.push_blob(digest, tiny_file.size, tiny_file.open, seen.append)

    assert server.has_blob(digest)
    assert not server.has_blob("sha256:" + "0" * 64)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_file_of_another_digest_is_refused(server: Ollama, tiny_file: GgufFile) -> None:
    wrong = "sha256:" + "1" * 64

    with pytest.raises(Failure):
        server.push_blob(wrong, tiny_file.size, tiny_file.open, lambda done: None)

    assert not server.has_blob(wrong)


def test_a_model_keeps_its_template_and_stop_texts(
    server: Ollama, created: str, tiny_file: GgufFile
) -> None:
    shown = server.show(created)

    assert shown.template.strip() == tiny_file.template.strip()
    assert shown.stop == STOP


def test_the_prompt_is_as_long_as_in_training(
    server: Ollama, created: str, count_tokens: Count
) -> None:
    talk: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"{uuid.uuid4().hex}: what is a list?"},
    ]

    pieces = list(server.chat(created, talk, ChatOptions(max_tokens=8)))

    assert pieces[-1].prompt_tokens == count_tokens(talk)
    assert 0 < (pieces[-1].completion_tokens or 0) <= 8
    assert pieces[-1].finish in ("stop", "length")
    assert "".join(piece.text for piece in pieces)


def test_the_same_question_gets_the_same_answer_at_temperature_0(
    server: Ollama, created: str
) -> None:
    talk: list[Message] = [{"role": "user", "content": "def add(a, b):"}]

    answers = [
        "".join(p.text for p in server.chat(created, talk, ChatOptions(max_tokens=12, seed=seed)))
        for seed in (1, 2)
    ]

    assert answers[0] == answers[1]


def test_a_copy_has_the_digest_of_its_source_until_it_is_moved(
    server: Ollama, created: str
) -> None:
    latest = created.replace(":v1", ":latest")

    server.copy(created, latest)

    assert server.tags()[latest] == server.tags()[created]
    server.warm(latest)
    assert server.loaded()[latest] == server.tags()[latest]
    server.delete(latest)
    assert latest not in server.tags()
    assert created in server.tags()


def test_what_is_absent_is_not_found(server: Ollama) -> None:
    absent = f"absent-{uuid.uuid4().hex}:v1"

    for ask in (server.show, server.delete, server.warm):
        with pytest.raises(NotFound):
            ask(absent)
    with pytest.raises(NotFound):
        server.copy(absent, f"{absent}2")
    with pytest.raises(NotFound):
        list(server.chat(absent, [{"role": "user", "content": "a"}], ChatOptions()))


def test_a_model_of_no_file_is_not_created(server: Ollama, name: str) -> None:
    with pytest.raises((Failure, NotFound)):
        server.create(name, {"m.gguf": "sha256:" + "2" * 64}, STOP, lambda done: None)

    assert name not in server.tags()
