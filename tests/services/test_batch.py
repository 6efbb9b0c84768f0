"""A recipe that a cluster could not carry out is refused before anything is begun."""

from __future__ import annotations

import asyncio

import pytest
from served import World

from aiforge import batch
from aiforge.errors import InvalidInput
from aiforge.services.context import Services
from aiforge.settings import Settings, config_dir
from aiforge.state import sources
from aiforge.training.estimate import GIB

RECIPES = config_dir() / "train"
CPUS = {"CPU": 8.0, "memory": 512.0 * GIB}


def on(world: World, settings: Settings) -> Services:
    return Services(world.services.state, world.services.storage, settings, lambda: CPUS)


@pytest.mark.parametrize("name", ["single-gpu", "qpissa", "zero2-8gpu", "zero3-offload-2x8gpu"])
def test_a_recipe_for_gpus_is_refused_at_once_where_there_are_none(
    name: str, world: World, settings: Settings
) -> None:
    recipe = batch.read_recipe(RECIPES / f"{name}.yaml")
    assert recipe.gpus == (recipe.train.min_workers or recipe.train.num_workers)

    with pytest.raises(InvalidInput, match=f"needs {recipe.gpus} GPUs") as caught:
        asyncio.run(batch.execute(on(world, settings), recipe, print))

    assert caught.value.code == "gpus_missing"
    assert "demo.yaml" in caught.value.message
    assert asyncio.run(world.services.state.call(sources.page, 10, 0)).total == 0


def test_it_is_not_where_an_autoscaler_can_bring_them(world: World, settings: Settings) -> None:
    recipe = batch.read_recipe(RECIPES / "demo.yaml").model_copy(update={"gpus": 4})
    with pytest.raises(InvalidInput, match="needs 4 GPUs"):
        batch.require_room(on(world, settings), recipe)

    settings.cluster_limits = {"GPU": 4.0}

    batch.require_room(on(world, settings), recipe)
