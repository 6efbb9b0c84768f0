"""What is remembered of a base model holds only as long as its files are what they were."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aiforge.errors import InvalidInput
from aiforge.modeling.bases import FORGE_TINY, FORGE_TINY_DIR
from aiforge.services import known_bases
from aiforge.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a model root in which there is one model, ``mine``."""
    shutil.copytree(FORGE_TINY_DIR, tmp_path / "models" / "mine")
    return Settings(home=tmp_path / "home", model_roots=[tmp_path / "models"])


def replace_config(settings: Settings) -> None:
    path = settings.model_roots[0] / "mine" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"max_position_embeddings": 77}))


def remove_tokenizer(settings: Settings) -> None:
    (settings.model_roots[0] / "mine" / "tokenizer.json").unlink()


def another_directory(settings: Settings) -> None:
    root = settings.model_roots[0]
    (root / "mine").rename(root / "old")
    shutil.copytree(root / "old", root / "mine")


def test_a_model_that_stays_is_not_read_again(settings: Settings) -> None:
    known = known_bases.look_up("mine", settings)
    assert known_bases.remembered("mine", settings) is known
    assert known_bases.look_up(FORGE_TINY, settings).shape is not None
    assert known_bases.remembered(FORGE_TINY, settings) is not None


@pytest.mark.parametrize("change", [replace_config, remove_tokenizer, another_directory])
def test_a_model_that_changed_is_looked_at_again(
    settings: Settings, change: Callable[[Settings], None]
) -> None:
    known_bases.look_up("mine", settings)
    change(settings)
    assert known_bases.remembered("mine", settings) is None


def test_a_link_that_leads_elsewhere_is_another_model(settings: Settings) -> None:
    root = settings.model_roots[0]
    shutil.copytree(root / "mine", root / "other")
    (root / "current").symlink_to("mine")
    first = known_bases.look_up("current", settings)
    (root / "current").unlink()
    (root / "current").symlink_to("other")
    assert known_bases.remembered("current", settings) is None
    assert known_bases.look_up("current", settings).base.location != first.base.location


def test_what_is_refused_is_not_remembered(settings: Settings) -> None:
    with pytest.raises(InvalidInput):
        known_bases.look_up("nowhere", settings)
    assert known_bases.remembered("nowhere", settings) is None
    assert known_bases.remembered("mine", settings.model_copy(update={"model_roots": []})) is None
