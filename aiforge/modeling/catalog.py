"""``configs/models.yaml``: what the platform knows about base models without loading them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aiforge.errors import InvalidInput
from aiforge.settings import config_dir, read_yaml

Family = Literal["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text"]
"""``model_type`` in a model's ``config.json``; Phi-4-mini is of the type ``phi3``."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelShape(_Section):
    """The dimensions that memory and time are estimated from."""

    layers: int = Field(ge=1)
    """Decoder layers."""

    hidden_size: int = Field(ge=1)
    """Width of the residual stream."""

    intermediate_size: int = Field(ge=1)
    """Inner width of the feed-forward block."""

    attention_heads: int = Field(ge=1)
    """Query heads."""

    key_value_heads: int = Field(ge=1)
    """Key and value heads; fewer than query heads under grouped-query attention."""

    head_dim: int = Field(ge=1)
    """Width of one attention head."""

    vocabulary_size: int = Field(ge=1)
    """Rows of the embedding, padding rows included."""

    tied_embeddings: bool
    """Whether the output projection is the embedding."""

    context_length: int = Field(ge=1)
    """Longest sequence the model was made for, in tokens."""


class ModelEntry(_Section):
    """One base model that can be named by its alias."""

    alias: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What a user writes; compared without regard to case."""

    hub_id: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """``owner/name`` on the Hugging Face hub."""

    revision: str | None = None
    """Branch, tag or commit on the hub; the main branch when absent."""

    family: Family
    """Architecture."""

    chat_template: str | None = None
    """Name of a template below that replaces the model's own."""

    parameters: int = Field(ge=1)
    """Number of weights, tied ones counted once."""

    shape: ModelShape
    """Dimensions."""


class Catalog(_Section):
    """All that ``configs/models.yaml`` holds."""

    chat_templates: dict[str, str]
    """Jinja chat templates by name; ``plain`` serves models that have none of their own."""

    models: list[ModelEntry]
    """The models that have an alias."""

    @model_validator(mode="after")
    def _names_resolve(self) -> Catalog:
        aliases = [entry.alias.lower() for entry in self.models]
        if len(set(aliases)) != len(aliases):
            raise ValueError("an alias is given twice")
        if "plain" not in self.chat_templates:
            raise ValueError("chat_templates must hold 'plain'")
        for entry in self.models:
            if entry.chat_template is not None and entry.chat_template not in self.chat_templates:
                raise ValueError(f"{entry.alias} names the unknown template {entry.chat_template}")
        return self

    def find(self, name: str) -> ModelEntry | None:
        """The entry with this alias or hub id, without regard to case."""
        wanted = name.lower()
        for entry in self.models:
            if wanted in (entry.alias.lower(), entry.hub_id.lower()):
                return entry
        return None

    def template_of(self, entry: ModelEntry | None) -> str | None:
        """The template that replaces the model's own, if there is one."""
        if entry is None or entry.chat_template is None:
            return None
        return self.chat_templates[entry.chat_template]


@cache
def read_catalog(path: Path | None = None) -> Catalog:
    """The catalog in a file, by default the shipped one; read once per process.

    Raises:
        InvalidInput: The file cannot be read or does not have the documented form.
    """
    path = path or config_dir() / "models.yaml"
    try:
        return Catalog.model_validate(read_yaml(path))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise InvalidInput(
            f"{path} is not a model catalog: {where}: {fault['msg']}", code="config_invalid"
        ) from error
