"""Every configuration file that ships is parsed by the model that will read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiforge.schemas.batch import Recipe
from aiforge.settings import Settings, config_dir, read_yaml

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


def test_variables_override_the_platform_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFORGE_PORT", "9001")

    assert Settings().port == 9001
    assert Settings(port=9002).port == 9002
