"""Chat in the form of https://platform.openai.com/docs/api-reference/chat, in snake_case."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_MAX_TOKENS = 1024
"""Longest answer where a request does not say."""

MOST_STOPS = 16


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Request):
    """A piece of a message; there are no others than text."""

    type: Literal["text"]
    text: str


class ChatMessage(_Request):
    """One turn of a conversation; ``developer`` means ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = Field(default=None, max_length=200)

    @property
    def text(self) -> str:
        """The whole message."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(_Request):
    """``include_usage`` has the counts of tokens sent as the last chunk."""

    include_usage: bool = False


class ChatRequest(_Request):
    """``POST /v1/chat/completions``.

    ``model`` is a project's name, whose active version answers, or one version by its id, its
    name, or what Ollama calls it.
    """

    model: str = Field(min_length=1, max_length=300)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0
    user: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _consistent(self) -> ChatRequest:
        if len(self.stops) > MOST_STOPS:
            raise ValueError(f"stop holds at most {MOST_STOPS} texts")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise ValueError("Give max_completion_tokens or max_tokens, not both")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options are for stream: true")
        return self

    @property
    def most_tokens(self) -> int:
        """Longest answer."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS

    @property
    def stops(self) -> list[str]:
        """Texts that end the answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]


FinishReason = Literal["stop", "length"]


class Usage(BaseModel):
    """Counts of tokens, as the engine gave them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    """What the model answered."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The one answer."""

    index: int = 0
    message: AnswerMessage
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """An answer; ``system_fingerprint`` is the id of the version that gave it.

    ``usage`` is ``null`` where the engine did not count.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None


class Delta(BaseModel):
    """What is new of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """A stretch of the one answer."""

    index: int = 0
    delta: Delta
    finish_reason: FinishReason | None = None


class ChatChunk(BaseModel):
    """One event of a stream; without choices it carries the usage."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class ChatModel(BaseModel):
    """A model that can be chatted with; ``root`` is the version that answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str


class ChatModels(BaseModel):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[ChatModel]
