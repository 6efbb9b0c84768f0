"""What a build knows of all its chunks together: some 460 bytes of each, and no text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.dedup import Sketches, clusters
from aiforge.raft.distractors import useful
from aiforge.raft.drafting import Census
from aiforge.raft.packs import Block
from aiforge.raft.stages import Numbered, usable
from aiforge.schemas.datasets import StageYield

TOO_SHORT = "too short to be of use"


@dataclass
class Survey:
    """Gathers what ``chunk_block`` returns, block by block."""

    blocks: list[Numbered] = field(default_factory=list)
    count: int = 0
    """Chunks that may be used."""

    cleaned: Counter[str] = field(default_factory=Counter)
    """How often what was taken out of the files' texts."""

    _dropped: Counter[str] = field(default_factory=Counter)
    _words: list[NDArray[np.int32]] = field(default_factory=list)
    _sketches: list[Sketches] = field(default_factory=list)
    _names: list[NDArray[np.uint64]] = field(default_factory=list)
    _callables: list[NDArray[np.uint64]] = field(default_factory=list)
    _training: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, block: Block, table: pa.Table) -> None:
        """Take the chunks of the next block."""
        self._dropped.update(reason for reason in table.column("dropped").to_pylist() if reason)
        for found in table.column("cleaned").drop_null().to_pylist():
            self.cleaned.update(json.loads(found))
        table = usable(table).combine_chunks()
        self.blocks.append(Numbered(block, self.count))
        self.count += table.num_rows
        self._words.append(table.column("words").to_numpy())
        self._sketches.append(Sketches.of_columns(table.column("minima"), table.column("bands")))
        for name, kept in (("names", self._names), ("callables", self._callables)):
            kept.append(_flat(table.column(name)))
        paths = table.column("path").to_pylist()
        self._training.append(np.array([path not in block.held_out for path in paths], np.bool_))

    @cached_property
    def training(self) -> NDArray[np.bool_]:
        """Which chunks training may see."""
        return np.concatenate([np.zeros(0, np.bool_), *self._training])

    def cluster(self) -> NDArray[np.int64]:
        """Near-duplicate cluster of each chunk; what it takes is let go of."""
        minima = [each.minima for each in self._sketches]
        bands = [each.bands for each in self._sketches]
        self._sketches.clear()
        return clusters(Sketches(_joined(minima), _joined(bands)))

    def census(self) -> Census:
        """How often each name stands in the corpus; what it takes is let go of."""
        names, self._names = self._names, []
        callables, self._callables = self._callables, []
        return Census.of(names, callables)

    def report(self) -> StageYield:
        """The account of the chunks."""
        long_enough = sum(int(useful(words.astype(np.int64)).sum()) for words in self._words)
        dropped = self._dropped + Counter({TOO_SHORT: self.count - long_enough})
        return StageYield(
            stage="chunks",
            entered=self.count + self._dropped.total(),
            left=long_enough,
            dropped=dict(dropped.most_common()),
        )


def _flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """All values of a column of lists."""
    parts = [part.flatten().to_numpy() for part in column.chunks]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """All parts in one array; the list lets go of them before the next thing is made."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole
