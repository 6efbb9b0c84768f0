"""Placement groups that nobody lives in any more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from aiforge.runtime.placements import Placements

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


@ray.remote(num_cpus=1)
class Tenant:
    def here(self) -> bool:
        return True


@pytest.fixture
def group() -> Iterator[PlacementGroup]:
    made = placement_group([{"CPU": 1}])
    ray.get(made.ready(), timeout=60)
    yield made
    remove_placement_group(made)


def test_a_group_without_an_actor_is_removed_once_it_has_been_so_for_long(
    group: PlacementGroup,
) -> None:
    id = group.id.hex()
    patient = Placements(seconds=3600.0)

    assert patient.sweep() == []
    assert patient.sweep() == []
    assert Placements(seconds=0.0).sweep() == [id]
    assert Placements(seconds=0.0).sweep() == []


def test_a_group_that_somebody_lives_in_is_left_alone(group: PlacementGroup) -> None:
    place = PlacementGroupSchedulingStrategy(placement_group=group)
    tenant = Tenant.options(scheduling_strategy=place).remote()
    assert ray.get(tenant.here.remote(), timeout=60)

    assert Placements(seconds=0.0).sweep() == []
    assert ray.get(tenant.here.remote(), timeout=60)
