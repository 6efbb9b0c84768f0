"""Deploying to Ollama: nothing is called deployed but what the server was seen to answer with.

Several steps of a server fail without a word: a chat template is replaced by a similar one, a
file is rewritten, one of several creations at once is lost, a name points where it did before.
So each step is followed by a look at what it led to.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from aiforge.errors import AIForgeError, Conflict, Failure, NotFound, Unavailable
from aiforge.serving.chat import Answers, ChatOptions, ChatPiece, Message
from aiforge.serving.ollama import Ollama, Shown

OLDEST = (0, 30)
"""The first version that keeps the Jinja template of a GGUF."""

CREATIONS = 3
PROBE_TOKENS = 16

Progress = Callable[[float, str], None]
"""Told how much is done, 0 to 1, and what is being done."""

CountTokens = Callable[[Sequence[Message]], int]
"""Length of a conversation under the chat template of the training, with transformers."""


@dataclass(frozen=True)
class GgufFile:
    """A file to deploy; ``sha256`` is hexadecimal, ``template`` its embedded chat template."""

    name: str
    sha256: str
    size: int
    open: Callable[[], IO[bytes]]
    template: str


@dataclass(frozen=True)
class Probe:
    """What a model answered to a question that nobody asked before."""

    prompt_tokens: int
    completion_tokens: int | None
    answer: str


@dataclass(frozen=True)
class Deployed:
    """What is on the server now; ``digest`` names it, whatever the server made of the file."""

    digest: str
    probes: tuple[Probe, ...]


def deploy(
    server: Ollama,
    tag: str,
    file: GgufFile,
    stop: Sequence[str],
    count_tokens: CountTokens,
    progress: Progress,
) -> Deployed:
    """Bring a model to a server under a name of its own, and verify it there.

    Repeating it is harmless. What fails its verification is taken away again.

    Raises:
        Unavailable: The server is away, went away, or is full.
        Conflict: It is too old (``ollama_too_old``), or what it made is not what was sent
            (``template_replaced``, ``prompt_mismatch``, ``digest_mismatch``, ``probe_failed``).
        Failure: It could not create the model.
    """
    _require_version(server)
    digest = f"sha256:{file.sha256}"
    for attempt in range(1, CREATIONS + 1):
        try:
            _push(server, digest, file, progress)
            progress(0.7, "creating the model")
            server.create(tag, {file.name: digest}, stop, lambda done: None)
            break
        except Failure as error:
            # A creation beside another one loses files that the server says it has.
            if attempt == CREATIONS:
                raise
            progress(0.1, f"creating again after: {error.message}"[:200])
            time.sleep(0.2 * attempt)
    progress(0.8, "verifying it through the server")
    try:
        return _verify(server, tag, file.template, stop, count_tokens)
    except Conflict:
        _remove(server, tag)
        raise


def activate(
    server: Ollama,
    tag: str,
    latest: str,
    digest: str,
    count_tokens: CountTokens,
    progress: Progress,
) -> Probe:
    """Have ``latest`` name what ``tag`` names, and verify that it answers.

    Where that fails, ``latest`` names again what it named before.

    Raises:
        Unavailable, Conflict: As ``deploy``; also ``model_not_on_server`` where the tag is not
            there, or is another model by now.
    """
    before = server.tags()
    if before.get(tag) != digest:
        raise Conflict(
            f"{tag} is not on the Ollama server any more, or is another model; deploy it again.",
            code="model_not_on_server",
        )
    previous = next(
        (name for name, of in before.items() if of == before.get(latest) and name != latest), None
    )
    try:
        progress(0.3, f"pointing {latest} at {tag}")
        server.copy(tag, latest)
        _require_digest("tags", latest, server.tags(), digest)
        progress(0.5, "loading it into memory")
        server.warm(latest)
        _require_digest("ps", latest, server.loaded(), digest)
        progress(0.8, "asking it something")
        return ask(NamedModel(server, latest), count_tokens)
    except AIForgeError:
        if before.get(latest) != digest:
            _restore(server, latest, previous)
        raise


def settle(server: Ollama, wanted: Sequence[tuple[str, str, str]]) -> list[str]:
    """Undo activations that were interrupted: ``latest`` names what is active.

    Args:
        wanted: Of each active model its tag, its ``latest`` name and its digest.

    Returns:
        The names that were put right.
    """
    tags = server.tags()
    wrong = [
        (tag, latest)
        for tag, latest, digest in wanted
        if tags.get(latest) != digest and tags.get(tag) == digest
    ]
    for tag, latest in wrong:
        server.copy(tag, latest)
    return [latest for _, latest in wrong]


def ask(model: Answers, count_tokens: CountTokens) -> Probe:
    """Put a question that is in no cache, and hold the prompt's length against transformers'.

    Raises:
        Conflict: The prompt has another length (``prompt_mismatch``), or there is no answer
            (``probe_failed``).
    """
    question = f"{uuid.uuid4().hex[:12]}: what does this project do?"
    return _asked(model, [{"role": "user", "content": question}], count_tokens)


def _asked(model: Answers, messages: Sequence[Message], count_tokens: CountTokens) -> Probe:
    pieces = list(model.chat(messages, ChatOptions(max_tokens=PROBE_TOKENS)))
    last = pieces[-1] if pieces else ChatPiece("")
    expected = count_tokens(messages)
    if last.prompt_tokens != expected:
        raise Conflict(
            f"The prompt of {len(messages)} messages is {last.prompt_tokens} tokens long in the "
            f"engine and {expected} in training: the chat template or the tokenizer is not the "
            "trained one. Export the model again.",
            code="prompt_mismatch",
            expected=expected,
            found=last.prompt_tokens,
        )
    answer = "".join(piece.text for piece in pieces)
    if not last.completion_tokens:
        raise Conflict(
            "The model does not answer: it generated no token. Export it again, or look at the "
            "engine's log.",
            code="probe_failed",
        )
    return Probe(expected, last.completion_tokens, answer)


@dataclass(frozen=True)
class NamedModel:
    """One model of a server, by its name."""

    server: Ollama
    name: str

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[ChatPiece]:
        """Its answer as it is made."""
        return self.server.chat(self.name, messages, options)


def _require_version(server: Ollama) -> None:
    version = server.version()
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found and (0, 0) < found < OLDEST:
        raise Conflict(
            f"The Ollama server is version {version}, which replaces chat templates; upgrade it "
            f"to {OLDEST[0]}.{OLDEST[1]} or newer.",
            code="ollama_too_old",
        )


def _push(server: Ollama, digest: str, file: GgufFile, progress: Progress) -> None:
    if server.has_blob(digest):
        return
    progress(0.1, "sending the file")
    server.push_blob(
        digest, file.size, file.open, lambda done: progress(0.1 + 0.6 * done, "sending the file")
    )
    if not server.has_blob(digest):
        raise Failure(
            "The Ollama server took the file and does not have it; look at its log.",
            code="ollama_blob_lost",
        )


def _verify(
    server: Ollama, tag: str, template: str, stop: Sequence[str], count_tokens: CountTokens
) -> Deployed:
    digest = server.tags().get(tag)
    if digest is None:
        raise Conflict(
            f"The Ollama server says that it made {tag} and does not list it; try again.",
            code="model_not_on_server",
        )
    _require_shown(server.show(tag), template, stop)
    model = NamedModel(server, tag)
    first = ask(model, count_tokens)
    talk = [
        {"role": "user", "content": f"{uuid.uuid4().hex[:12]}: name a function."},
        {"role": "assistant", "content": "main"},
        {"role": "user", "content": "What does it do?"},
    ]
    second = _asked(model, talk, count_tokens)
    _require_digest("ps", tag, server.loaded(), digest)
    return Deployed(digest, (first, second))


def _require_shown(shown: Shown, template: str, stop: Sequence[str]) -> None:
    if shown.template.strip() != template.strip():
        raise Conflict(
            "The Ollama server put a chat template of its own in the place of the trained one. "
            "Export the model again with this version, which marks its template.",
            code="template_replaced",
        )
    if missing := set(stop) - set(shown.stop):
        raise Conflict(
            f"The Ollama server dropped the stop text {min(missing)!r}; upgrade it.",
            code="stop_dropped",
        )


def _require_digest(where: str, name: str, found: dict[str, str], digest: str) -> None:
    if found.get(name) != digest:
        raise Conflict(
            f"{name} is {found.get(name) or 'absent'} in the server's {where} and should be "
            f"{digest}; something else changes the same server.",
            code="digest_mismatch",
            expected=digest,
            found=found.get(name),
        )


def _remove(server: Ollama, tag: str) -> None:
    try:
        server.delete(tag)
    except (NotFound, Failure, Unavailable):
        # It failed its verification; nothing names it as a model to use.
        return


def _restore(server: Ollama, latest: str, previous: str | None) -> None:
    try:
        if previous is None:
            server.delete(latest)
        else:
            server.copy(previous, latest)
    except (NotFound, Failure, Unavailable):
        # The next run that works on this server settles it.
        return
