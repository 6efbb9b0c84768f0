"""Every shipped RAFT recipe is one that a request could carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiforge.schemas.datasets import RaftConfig, TeacherConfig
from aiforge.settings import config_dir, read_yaml

_TEACHERS = {"teacher.yaml"}
_RECIPES = [path for path in sorted(config_dir().glob("raft/*.yaml")) if path.name not in _TEACHERS]


@pytest.mark.parametrize("path", _RECIPES, ids=lambda p: p.stem)
def test_raft_recipe_parses(path: Path) -> None:
    values = read_yaml(path)
    config = RaftConfig.model_validate(values)
    assert set(values) <= set(RaftConfig.model_fields)
    assert config.chunk_tokens * 2 <= config.context_tokens


def test_the_default_recipe_says_what_the_defaults_are() -> None:
    assert RaftConfig.model_validate(read_yaml(config_dir() / "raft/default.yaml")) == RaftConfig()


@pytest.mark.parametrize("name", sorted(_TEACHERS))
def test_teacher_recipe_parses(name: str) -> None:
    values = read_yaml(config_dir() / "raft" / name)
    assert set(values) <= set(TeacherConfig.model_fields)
    assert TeacherConfig.model_validate(values).max_requests
