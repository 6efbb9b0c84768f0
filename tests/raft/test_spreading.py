"""How items are put into groups, of which each goes to one worker, and what a worker keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray")

import pyarrow as pa

from aiforge.raft.ray_build import groups_of, sealed


@given(st.integers(0, 500), st.integers(1, 300), st.integers(0, 64))
def test_every_item_is_in_one_group_in_order(count: int, most: int, processors: int) -> None:
    groups = [list(group) for group in groups_of(range(count), most, processors)]
    assert [item for group in groups for item in group] == list(range(count))
    assert all(0 < len(group) <= most for group in groups)
    sizes = [len(group) for group in groups]
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(1, 500), st.integers(2, 32))
def test_no_group_is_larger_than_what_is_left_for_the_others(count: int, processors: int) -> None:
    left = count
    for group in groups_of(range(count), 8, processors):
        left -= len(group)
        assert len(group) == 1 or left >= len(group) * (processors - 1)


def test_a_worker_keeps_nothing_of_the_tables_that_it_gave_away() -> None:
    table = pa.table({"number": range(100_000)})
    before = pa.total_allocated_bytes()
    for _ in range(5):
        pa.array([sealed(table)], pa.large_binary())
    assert pa.total_allocated_bytes() - before < table.nbytes
