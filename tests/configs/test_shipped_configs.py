"""Every configuration file that ships is parsed by the model that will read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiforge.modeling.bases import FORGE_TINY_DIR
from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.linears import Shape
from aiforge.schemas.batch import Recipe
from aiforge.settings import Settings, config_dir, read_yaml
from aiforge.training import estimate
from aiforge.training.estimate import GIB, Room

CONFIGS = config_dir()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("platform/*.yaml")), ids=lambda p: p.stem)
def test_platform_file_gives_settings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFORGE_ENV", path.stem)

    settings = Settings()

    assert settings.env == path.stem
    for name, value in read_yaml(path).items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train/*.yaml")), ids=lambda p: p.stem)
def test_recipe_parses(path: Path) -> None:
    recipe = Recipe.model_validate(read_yaml(path))

    assert recipe.project_name


ROOMS = {
    "demo": Room("cpu", 4 * GIB),
    "single-gpu": Room("cuda", 24 * GIB),
    "qpissa": Room("cuda", 24 * GIB),
    "zero2-8gpu": Room("cuda", 80 * GIB),
    "zero3-offload-2x8gpu": Room("cuda", 80 * GIB),
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train/*.yaml")), ids=lambda p: p.stem)
def test_recipe_fits_where_it_says_that_it_runs(path: Path) -> None:
    train = Recipe.model_validate(read_yaml(path)).train
    entry = read_catalog().find(train.base_model)
    if entry is None:
        described = json.loads((FORGE_TINY_DIR / "config.json").read_text())
    else:
        dimensions = entry.shape
        described = {
            "model_type": entry.family,
            "hidden_size": dimensions.hidden_size,
            "intermediate_size": dimensions.intermediate_size,
            "num_hidden_layers": dimensions.layers,
            "num_attention_heads": dimensions.attention_heads,
            "num_key_value_heads": dimensions.key_value_heads,
            "head_dim": dimensions.head_dim,
            "vocab_size": dimensions.vocabulary_size,
            "tie_word_embeddings": dimensions.tied_embeddings,
        }
    room = ROOMS[path.stem]
    shape = Shape.of(described)
    if entry is not None:
        assert shape.parameters == pytest.approx(entry.parameters, rel=0.01)
    config, _ = estimate.choose_stage(shape, train, train.max_seq_length or 2048, room)
    found = estimate.estimate(shape, config, train.max_seq_length or 2048, room.device)
    assert room.worker is not None
    assert found.peak <= room.worker


def test_variables_override_the_platform_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFORGE_PORT", "9001")

    assert Settings().port == 9001
    assert Settings(port=9002).port == 9002
