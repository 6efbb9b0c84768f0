"""Packed rows: nothing is lost, nothing is too long, the order is a pure function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.errors import InvalidInput
from aiforge.storage import Storage
from aiforge.training.data import (
    IGNORED,
    BatchPlan,
    PackedRows,
    Row,
    best_fit,
    collate,
    document,
    pack,
    to_table,
)


def documents(lengths: list[int]) -> list[Row]:
    return [document(list(range(n)), [IGNORED if i % 2 else i for i in range(n)]) for n in lengths]


@given(st.lists(st.integers(1, 64), max_size=200))
def test_best_fit_places_each_item_once_and_never_overfills(lengths: list[int]) -> None:
    bins = best_fit(lengths, 64)
    assert sorted(item for members in bins for item in members) == list(range(len(lengths)))
    assert all(sum(lengths[item] for item in members) <= 64 for members in bins)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=200))
def test_best_fit_leaves_no_two_bins_that_fit_into_one(lengths: list[int]) -> None:
    loads = sorted(sum(lengths[i] for i in members) for members in best_fit(lengths, 64))
    assert len(loads) < 2 or loads[0] + loads[1] > 64


@pytest.mark.parametrize("length", [0, 65])
def test_what_cannot_be_placed_is_refused(length: int) -> None:
    with pytest.raises(InvalidInput):
        best_fit([3, length], 64)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_packing_keeps_every_document_whole(lengths: list[int]) -> None:
    rows = pack(documents(lengths), 40)
    assert sorted(n for row in rows for n in row.lengths.tolist()) == sorted(lengths)
    for row in rows:
        batch = collate([row])
        assert batch.input_ids.tolist() == batch.position_ids.tolist()
        for piece in batch.targets.split(list(batch.lengths)):
            assert piece[-1] == IGNORED


def test_a_target_is_the_next_token_where_that_is_trained() -> None:
    row = document([7, 8, 9, 10], [IGNORED, IGNORED, 9, 10])
    assert row.targets.tolist() == [IGNORED, 9, 10, IGNORED]


def test_rows_survive_storage_in_several_files(tmp_path: Path) -> None:
    rows = pack(documents([5, 9, 30, 2, 17, 40, 1]), 40)
    storage = Storage(str(tmp_path))
    (tmp_path / "rows").mkdir()
    pq.write_table(to_table(rows[:2]), tmp_path / "rows" / "a.parquet")
    pq.write_table(to_table([]), tmp_path / "rows" / "b.parquet")
    pq.write_table(to_table(rows[2:]), tmp_path / "rows" / "c.parquet")
    loaded = PackedRows.load(storage, "rows")
    assert len(loaded) == len(rows)
    assert loaded.token_count == sum(len(row.input_ids) for row in rows)
    for found, expected, count in zip(loaded, rows, loaded.target_counts, strict=True):
        assert np.array_equal(found.input_ids, expected.input_ids)
        assert np.array_equal(found.targets, expected.targets)
        assert np.array_equal(found.lengths, expected.lengths)
        assert count == (expected.targets != IGNORED).sum()


@given(
    count=st.integers(1, 30),
    per_step=st.integers(1, 12),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_every_row_is_seen_once_per_epoch(
    count: int, per_step: int, epochs: int, seed: int
) -> None:
    rows = PackedRows.of(documents([3] * count))
    plan = BatchPlan(rows, seed, per_step, epochs)
    seen = [index for step in range(plan.steps) for index in plan.indices(step)]
    for epoch in range(epochs):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))
    again = BatchPlan(rows, seed, per_step, epochs)
    assert [again.indices(step) for step in reversed(range(plan.steps))] == [
        plan.indices(step) for step in reversed(range(plan.steps))
    ]


@given(count=st.integers(1, 20), world=st.integers(1, 4), size=st.integers(1, 3))
def test_workers_share_a_step_without_overlap_and_in_step(
    count: int, world: int, size: int
) -> None:
    rows = PackedRows.of([document([i, i, i], [i, i, i]) for i in range(count)])
    plan = BatchPlan(rows, seed=1, rows_per_step=6)
    for step in range(plan.steps):
        shares = [list(plan.micro_batches(step, rank, world, size)) for rank in range(world)]
        assert len({len(share) for share in shares}) == 1
        trained = [
            int(target)
            for share in shares
            for batch in share
            for target in batch.targets
            if target != IGNORED
        ]
        assert sorted(trained) == sorted(2 * plan.indices(step))
        assert plan.target_count(step) == len(trained)


def test_epochs_have_different_orders() -> None:
    plan = BatchPlan(PackedRows.of(documents([2] * 50)), seed=0, rows_per_step=50, epochs=2)
    assert plan.indices(0) != plan.indices(1)
