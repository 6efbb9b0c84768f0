"""Token documents packed into rows, and the order in which training sees the rows.

A *document* is one example: token ids and, for each position, the token to predict there
(its *target*; ``IGNORED`` where nothing is trained). A *row* is several documents side by side,
at most ``capacity`` tokens, without padding. A *batch* is several rows side by side, again
without padding: one sequence of T tokens with the lengths of its documents, which is what
attention by document needs and what costs no work for tokens that are not there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from aiforge.errors import InvalidInput
from aiforge.storage import Storage

IGNORED = -100
"""Target of a position where nothing is trained."""

Ints = npt.NDArray[np.int32]

SCHEMA = pa.schema(
    [
        ("input_ids", pa.large_list(pa.int32())),
        ("targets", pa.large_list(pa.int32())),
        ("lengths", pa.large_list(pa.int32())),
    ]
)


@dataclass(frozen=True)
class Row:
    """Documents side by side: ``input_ids`` and ``targets`` of sum(``lengths``) tokens."""

    input_ids: Ints
    targets: Ints
    lengths: Ints


@dataclass(frozen=True)
class Batch:
    """Rows side by side as tensors: ids and positions (1, T), targets (T,), document lengths."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens in the batch; there is no padding."""
        return self.input_ids.shape[1]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.position_ids.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.lengths,
        )


def document(input_ids: Sequence[int], labels: Sequence[int]) -> Row:
    """A row of one document; ``labels[i]`` is ``input_ids[i]`` where that token is trained."""
    targets = [*labels[1:], IGNORED]
    return Row(
        np.asarray(input_ids, np.int32),
        np.asarray(targets, np.int32),
        np.asarray([len(input_ids)], np.int32),
    )


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of item indices, each at most ``capacity`` long: best fit decreasing (Johnson, 1973).

    At most 11/9 of the fewest possible bins plus a constant; O(n · capacity / 64).

    Raises:
        InvalidInput: An item is empty or longer than ``capacity``.
    """
    if any(not 0 < length <= capacity for length in lengths):
        raise InvalidInput(f"Documents must have 1 to {capacity} tokens to be packed.")
    bins: list[list[int]] = []
    by_free: list[list[int]] = [[] for _ in range(capacity + 1)]
    available = 0  # bit s is set where a bin has s tokens free
    for item in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[item]
        if fitting := available >> length:
            free = length + (fitting & -fitting).bit_length() - 1
            chosen = by_free[free].pop()
            if not by_free[free]:
                available ^= 1 << free
        else:
            free, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(item)
        if left := free - length:
            by_free[left].append(chosen)
            available |= 1 << left
    return bins


def pack(documents: Sequence[Row], capacity: int) -> list[Row]:
    """Documents joined into rows of at most ``capacity`` tokens."""
    bins = best_fit([len(row.input_ids) for row in documents], capacity)
    return [join([documents[index] for index in members]) for members in bins]


def join(rows: Sequence[Row]) -> Row:
    """Rows side by side."""
    return Row(
        np.concatenate([row.input_ids for row in rows]),
        np.concatenate([row.targets for row in rows]),
        np.concatenate([row.lengths for row in rows]),
    )


def collate(rows: Sequence[Row]) -> Batch:
    """The batch of some rows; positions start at 0 in every document."""
    row = join(rows)
    lengths = tuple(int(length) for length in row.lengths)
    positions = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
    return Batch(
        torch.from_numpy(row.input_ids.astype(np.int64))[None],
        torch.from_numpy(positions)[None],
        torch.from_numpy(row.targets.astype(np.int64)),
        lengths,
    )


def masked(row: Row) -> Row:
    """The same row with nothing trained in it."""
    return Row(row.input_ids, np.full_like(row.targets, IGNORED), row.lengths)


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table of ``SCHEMA``."""
    items = list(rows)
    columns = {
        name: pa.array([getattr(row, name) for row in items], SCHEMA.field(name).type)
        for name in SCHEMA.names
    }
    return pa.table(columns, schema=SCHEMA)


class PackedRows(Sequence[Row]):
    """Rows of one or several Arrow tables, read without copying."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._columns = [_columns(table.combine_chunks()) for table in tables if table.num_rows]
        self._ends = list(accumulate(len(part[0][1]) - 1 for part in self._columns))
        self.target_counts = np.concatenate(
            [_target_counts(part) for part in self._columns] or [np.zeros(0, np.int64)]
        )
        """Trained targets of each row."""
        self.token_count = sum(len(part[0][0]) for part in self._columns)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> PackedRows:
        """Rows that are already in memory."""
        return cls([to_table(rows)])

    @classmethod
    def load(cls, storage: Storage, path: str) -> PackedRows:
        """Every Parquet file directly below a storage path, in the order of their names."""
        names = [name for name in storage.names(path) if name.endswith(".parquet")]
        files = (storage.full(f"{path}/{name}") for name in names)
        return cls(
            pq.read_table(file, columns=SCHEMA.names, schema=SCHEMA, filesystem=storage.filesystem)
            for file in files
        )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self._ends, index)
        local = index - (self._ends[part - 1] if part else 0)
        return Row(*(_item(column, local) for column in self._columns[part]))


_Column = tuple[Ints, npt.NDArray[np.int64]]


def _columns(table: pa.Table) -> tuple[_Column, _Column, _Column]:
    def column(name: str) -> _Column:
        array = table.column(name).chunk(0)
        return array.values.to_numpy(), array.offsets.to_numpy()

    return column("input_ids"), column("targets"), column("lengths")


def _item(column: _Column, index: int) -> Ints:
    values, offsets = column
    return values[offsets[index] : offsets[index + 1]]


def _target_counts(part: tuple[_Column, _Column, _Column]) -> npt.NDArray[np.int64]:
    values, offsets = part[1]
    before = np.concatenate([[0], np.cumsum(values != IGNORED)])
    counts: npt.NDArray[np.int64] = before[offsets[1:]] - before[offsets[:-1]]
    return counts


@dataclass(frozen=True)
class BatchPlan:
    """Which rows each optimizer step sees: a pure function of (seed, step).

    The rows of a step do not depend on how many workers there are, so a run that resumes on
    another number of workers sees the same data.

    Args:
        rows: All rows.
        seed: Seed of the shuffle; every epoch has its own.
        rows_per_step: Rows of one optimizer step, over all workers.
        epochs: How often each row is seen.
    """

    rows: PackedRows
    seed: int
    rows_per_step: int
    epochs: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps in all epochs; the last one may be smaller."""
        return -(-len(self.rows) * self.epochs // self.rows_per_step)

    def indices(self, step: int) -> list[int]:
        """Row indices of a step, ``step`` counted from 0."""
        count = len(self.rows)
        first = step * self.rows_per_step
        last = min(first + self.rows_per_step, count * self.epochs)
        orders = {
            epoch: _order(self.seed, epoch, count)
            for epoch in range(first // count, -(-last // count))
        }
        return [int(orders[at // count][at % count]) for at in range(first, last)]

    def epoch(self, step: int) -> float:
        """Epochs completed after ``step`` steps."""
        return min(step * self.rows_per_step / len(self.rows), float(self.epochs))

    def micro_batches(self, step: int, rank: int, world: int, size: int) -> Iterator[Batch]:
        """One worker's share of a step in batches of ``size`` rows.

        Every worker gets the same number of batches, as collective operations need; where rows
        run out, a batch with nothing trained stands in.
        """
        indices = self.indices(step)
        count = -(-len(indices) // (world * size))
        mine = indices[rank::world]
        for number in range(count):
            chosen = [self.rows[index] for index in mine[number * size : (number + 1) * size]]
            yield collate(chosen or [masked(self.rows[indices[0]])])

    def document_lengths(self, step: int) -> list[int]:
        """Lengths of the documents of a step, over all workers."""
        chosen = (self.rows[index].lengths for index in self.indices(step))
        return [int(length) for lengths in chosen for length in lengths]

    def target_count(self, step: int) -> int:
        """Trained targets of a step, over all workers."""
        return int(self.rows.target_counts[self.indices(step)].sum())


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
