"""Where examples end: Parquet files by split, the preview and the yield report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiforge.raft.formats import render_row
from aiforge.raft.quality import measure, quality
from aiforge.raft.records import EXAMPLES, rows_table
from aiforge.schemas.datasets import DatasetFormat, RaftConfig, StageYield, YieldReport
from aiforge.storage import Storage, dataset_dir

_ROWS_PER_FILE = 5000
_PREVIEW = 10
_MEASURED_ROWS = 20_000
_TOO_LONG = "longer than the context"


class Sink:
    """Takes results, keeps each question once, and writes them as they come.

    Args:
        clusters: Near-duplicate cluster of each chunk.
    """

    def __init__(
        self,
        storage: Storage,
        dataset_id: str,
        config: RaftConfig,
        format: DatasetFormat,
        clusters: NDArray[Any],
    ) -> None:
        self._storage = storage
        self._directory = dataset_dir(dataset_id)
        self._config = config
        self._format = format
        self._clusters = clusters
        self._pending: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        self._parts: Counter[bool] = Counter()
        self._counts: Counter[bool] = Counter()
        self._kinds: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._slots: Counter[str] = Counter()
        self._seen: set[int] = set()
        self._sample: list[dict[str, Any]] = []
        self._tried = 0

    @property
    def train_count(self) -> int:
        """Training examples so far."""
        return self._counts[False]

    @property
    def validation_count(self) -> int:
        """Validation examples so far."""
        return self._counts[True]

    def count(self, validation: bool) -> int:
        """Examples of one split so far."""
        return self._counts[validation]

    def add(self, results: pa.Table, wanted: Mapping[bool, int]) -> None:
        """Take results, until a split has as many examples as are wanted of it."""
        for row in results.to_pylist():
            if self._counts[row["validation"]] >= wanted[row["validation"]]:
                continue
            self._tried += 1
            key = hash((row["instruction"], row["output"]))
            if row["dropped"]:
                self._dropped[row["dropped"]] += 1
            elif key in self._seen:
                self._dropped["same question and answer"] += 1
            else:
                self._seen.add(key)
                self._keep(row)

    def stages(self, drafts: int) -> list[StageYield]:
        """The account of what was done with ``drafts`` questions."""
        unused = drafts - self._tried
        made = self.train_count + self.validation_count
        slots, filled = self._slots["wanted"], self._slots["filled"]
        missing = {
            "no room in the context": self._slots["no_room"],
            "no further chunk that may be used": slots - filled - self._slots["no_room"],
        }
        return [
            StageYield(
                stage="selection",
                entered=drafts,
                left=self._tried,
                dropped={"more than maxExamples": unused} if unused else {},
            ),
            StageYield(
                stage="examples",
                entered=self._tried,
                left=made,
                dropped=dict(self._dropped.most_common()),
            ),
            StageYield(
                stage="distractors",
                entered=slots,
                left=filled,
                dropped={reason: count for reason, count in missing.items() if count},
            ),
        ]

    def finish(
        self, stages: list[StageYield], cleaned: Mapping[str, int]
    ) -> tuple[YieldReport, float | None, list[dict[str, Any]]]:
        """Write what is pending, the report and the preview; returns report, quality, preview."""
        for validation in (False, True):
            self._flush(validation)
        clusters = {row["oracle"]: int(self._clusters[row["oracle"]]) for row in self._sample}
        components, samples = measure(self._sample, clusters, self._dropped[_TOO_LONG])
        report = YieldReport(
            stages=stages,
            kinds=dict(sorted(self._kinds.items())),
            cleaned=dict(sorted(cleaned.items())),
            quality_components=components,
            quality_samples=samples,
        )
        preview = self._preview()
        self._storage.write_json(f"{self._directory}/preview.json", preview)
        self._storage.write_json(f"{self._directory}/report.json", report.model_dump(mode="json"))
        return report, quality(components), preview

    def _keep(self, row: dict[str, Any]) -> None:
        validation = row["validation"]
        self._counts[validation] += 1
        self._kinds[row["kind"]] += 1
        self._slots.update(wanted=row["wanted"], filled=row["distractors"], no_room=row["no_room"])
        if len(self._sample) < _MEASURED_ROWS:
            self._sample.append(row)
        self._pending[validation].append(row)
        if len(self._pending[validation]) >= _ROWS_PER_FILE:
            self._flush(validation)

    def _flush(self, validation: bool) -> None:
        split = "validation" if validation else "train"
        directory = f"{self._directory}/{split}"
        self._storage.filesystem.create_dir(self._storage.full(directory))
        rows, self._pending[validation] = self._pending[validation], []
        if not rows and self._parts[validation]:
            return
        columns = EXAMPLES.names
        table = rows_table([{name: row[name] for name in columns} for row in rows], EXAMPLES)
        path = f"{directory}/part-{self._parts[validation]:05d}.parquet"
        pq.write_table(
            table,
            self._storage.full(path),
            filesystem=self._storage.filesystem,
            compression="zstd",
        )
        self._parts[validation] += 1

    def _preview(self) -> list[dict[str, Any]]:
        """One example of each kind first, then further ones, in the dataset's format."""
        firsts: dict[str, dict[str, Any]] = {}
        for row in self._sample:
            firsts.setdefault(row["kind"], row)
        others = [row for row in self._sample if firsts[row["kind"]] is not row]
        chosen = [*firsts.values(), *others][:_PREVIEW]
        return [
            render_row(row, self._format)
            | {
                "kind": row["kind"],
                "path": row["path"],
                "startLine": row["start_line"],
                "endLine": row["end_line"],
                "golden": row["golden"],
            }
            for row in chosen
        ]
