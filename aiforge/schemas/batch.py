"""Recipes: the whole job in one file, for ``aiforge demo`` and ``python -m aiforge.batch``."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from aiforge.schemas.common import Wire
from aiforge.schemas.datasets import DatasetFormat, RaftConfig, TeacherConfig
from aiforge.schemas.jobs import JobConfig, Name


class _Section(Wire):
    """Part of a recipe; written in snake_case, unknown keys refused."""

    model_config = ConfigDict(extra="forbid")


class RecipeSource(_Section):
    """Where the data comes from."""

    type: Literal["git", "local", "upload"] = "git"
    """``upload`` sends the files of a directory along, as ``ray job submit`` does."""

    url: str
    """A git URL, or a directory."""

    branch: str | None = None
    """The default branch of the repository when absent."""

    include_patterns: list[str] = Field(default_factory=list)
    """Only files that match are read; gitignore syntax."""

    exclude_patterns: list[str] = Field(default_factory=list)
    """Files that match are not read; gitignore syntax."""


class RecipeDataset(_Section):
    """How examples are made of it."""

    format: DatasetFormat = "alpaca"
    """Shape of the examples when they are downloaded."""

    max_examples: int = Field(default=1000, ge=1)
    """At most this many examples, balanced over the kinds of question."""

    raft: RaftConfig = Field(default_factory=RaftConfig)
    """Distractors, chunk sizes and the share of files held out."""

    teacher: TeacherConfig | None = None
    """A model that writes questions and answers beside those that need none."""


class RecipeTrain(JobConfig):
    """What is trained, and how: all fields of ``POST /v1/fine-tune``."""

    model_config = ConfigDict(extra="forbid")

    base_model: str = "forge-tiny"
    """An alias of ``configs/models.yaml``, a hub id, a directory, or ``forge-tiny``."""


class Recipe(_Section):
    """One file in ``configs/train``."""

    project_name: Name
    """The project that jobs and models are grouped by."""

    gpus: int = Field(default=0, ge=0)
    """GPUs that a cluster must have, or be able to grow to; nothing is begun on a smaller one."""

    source: RecipeSource
    """Where the data comes from."""

    dataset: RecipeDataset = Field(default_factory=RecipeDataset)
    """How examples are made of it."""

    train: RecipeTrain = Field(default_factory=RecipeTrain)
    """What is trained, and how."""
