"""Which questions of a corpus may be asked, and in which order they are tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiforge.raft.questions import KINDS
from aiforge.raft.records import DRAFTS
from aiforge.schemas.datasets import StageYield

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Selection:
    """Rows of ``DRAFTS`` that may be asked, and the account of the others."""

    drafts: pa.Table
    report: StageYield

    def ordered(self, validation: bool) -> NDArray[np.int64]:
        """Rows of one split in a seeded order in which each kind comes as often as it can."""
        chosen = np.flatnonzero(_numpy(self.drafts, "validation") == validation)
        kinds = self.drafts.column("kind").take(chosen).to_pylist()
        order = balanced_order(np.array(kinds, dtype=np.str_), _numpy(self.drafts, "order")[chosen])
        return chosen[order]


def select(
    tables: Sequence[pa.Table], clusters: NDArray[np.int64], training: NDArray[np.bool_]
) -> Selection:
    """Leave out what is unclear, what training would leak into validation, and repetitions.

    Args:
        tables: Rows of ``DRAFTS`` in the order of the corpus.
        clusters: Near-duplicate cluster of each chunk.
        training: Whether training may see the chunk.
    """
    every = pa.concat_tables([DRAFTS.empty_table(), *tables])
    dropped = Counter(reason for reason in every.column("dropped").to_pylist() if reason)
    drafts = every.filter(every.column("dropped").is_null())
    of_draft = clusters[_numpy(drafts, "chunk")]
    leaking = _numpy(drafts, "validation") & np.isin(of_draft, clusters[training])
    kept = np.flatnonzero(~leaking)
    mixed = _numpy(drafts, "key")[kept] ^ (of_draft[kept].astype(np.uint64) * _SPREAD)
    _, firsts = np.unique(mixed, return_index=True)
    dropped["near-duplicate of a training chunk"] = int(leaking.sum())
    dropped["near-duplicate of another question"] = len(kept) - len(firsts)
    report = StageYield(
        stage="questions",
        entered=every.num_rows,
        left=len(firsts),
        dropped={reason: count for reason, count in dropped.most_common() if count},
    )
    return Selection(drafts.take(kept[np.sort(firsts)]), report)


def balanced_order(kinds: NDArray[np.str_], order: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Positions in which each kind takes its turn while it lasts; within a kind by ``order``.

    A teacher's questions were paid for, so that they come before all others.
    """
    places = {kind: place for place, kind in enumerate(KINDS)}
    turn = np.fromiter((places[kind] for kind in kinds.tolist()), np.int64, len(kinds))
    by_kind = np.lexsort((order, turn))
    sizes = np.bincount(turn, minlength=len(KINDS))
    firsts = np.cumsum(sizes) - sizes
    round_of = np.empty(len(kinds), np.int64)
    round_of[by_kind] = np.arange(len(kinds)) - firsts[turn[by_kind]]
    round_of[turn == places["teacher"]] = -1
    return np.lexsort((order, turn, round_of))


def _numpy(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()  # type: ignore[no-any-return]
