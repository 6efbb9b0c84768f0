"""Where examples end: Parquet files by split, the preview and the yield report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiforge.raft.examples import TOO_LONG
from aiforge.raft.formats import render_row
from aiforge.raft.quality import WEIGHTS, measure, quality
from aiforge.raft.records import EXAMPLES, MEASURES, RESULTS
from aiforge.schemas.datasets import DatasetFormat, StageYield, TeacherUse, YieldReport
from aiforge.storage import Storage, dataset_dir

_ROWS_PER_FILE = 5000
_PREVIEW = 10
_MEASURED_ROWS = 5000


class Sink:
    """Writes the rows of examples as they come, and keeps some of them to look at.

    Args:
        clusters: Near-duplicate cluster of each chunk.
        total: How many rows there will be.
    """

    def __init__(
        self,
        storage: Storage,
        dataset_id: str,
        format: DatasetFormat,
        clusters: NDArray[Any],
        total: int,
    ) -> None:
        self._storage = storage
        self._directory = dataset_dir(dataset_id)
        self._format = format
        self._clusters = clusters
        # Every so many rows one is looked at, so that all parts of the corpus are.
        self._step = max(1, -(-total // _MEASURED_ROWS))
        self._pending: dict[bool, list[pa.Table]] = {True: [], False: []}
        self._parts: Counter[bool] = Counter()
        self._kinds: Counter[str] = Counter()
        self._slots: Counter[str] = Counter()
        self._measures: list[pa.Table] = []
        self._sample: list[dict[str, Any]] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take rows of ``RESULTS``."""
        if not rows.num_rows:
            return
        for entry in rows.column("kind").value_counts().to_pylist():
            self._kinds[entry["values"]] += entry["counts"]
        for name in ("wanted", "distractors", "no_room"):
            self._slots[name] += pc.sum(rows.column(name)).as_py() or 0
        first = -self._rows % self._step
        sample = rows.take(pa.array(range(first, rows.num_rows, self._step), pa.int64()))
        self._measures.append(sample.select(MEASURES.names))
        self._look_at(sample.select(RESULTS.names))
        self._rows += rows.num_rows
        for validation in (False, True):
            part = rows.filter(pc.equal(rows.column("validation"), validation))
            self._pending[validation].append(part.select(EXAMPLES.names))
            if sum(table.num_rows for table in self._pending[validation]) >= _ROWS_PER_FILE:
                self._flush(validation)

    def finish(
        self,
        stages: list[StageYield],
        cleaned: Mapping[str, int],
        teacher: TeacherUse | None = None,
    ) -> tuple[YieldReport, float | None, list[dict[str, Any]]]:
        """Write what is pending, the report and the preview; returns report, quality, preview."""
        for validation in (False, True):
            self._flush(validation)
        examples = next(stage for stage in stages if stage.stage == "examples")
        too_long = -(-examples.dropped.get(TOO_LONG, 0) // self._step)
        rows = pa.concat_tables([MEASURES.empty_table(), *self._measures])
        components, samples = measure(rows, self._clusters, too_long)
        report = YieldReport(
            stages=[*stages, self._distractors()],
            kinds=dict(sorted(self._kinds.items())),
            cleaned=dict(sorted(cleaned.items())),
            quality_components=components,
            quality_samples=samples,
            quality_weights=WEIGHTS,
            teacher=teacher,
        )
        preview = self._preview()
        self._storage.write_json(f"{self._directory}/preview.json", preview)
        self._storage.write_json(f"{self._directory}/report.json", report.model_dump(mode="json"))
        return report, quality(components), preview

    def _distractors(self) -> StageYield:
        """The account of the places for distractors."""
        slots, filled, no_room = (self._slots[n] for n in ("wanted", "distractors", "no_room"))
        missing = {
            "no room in the context": no_room,
            "no further chunk that may be used": slots - filled - no_room,
        }
        return StageYield(
            stage="distractors",
            entered=slots,
            left=filled,
            dropped={reason: count for reason, count in missing.items() if count},
        )

    def _flush(self, validation: bool) -> None:
        split = "validation" if validation else "train"
        directory = f"{self._directory}/{split}"
        self._storage.filesystem.create_dir(self._storage.full(directory))
        tables, self._pending[validation] = self._pending[validation], []
        table = pa.concat_tables([EXAMPLES.empty_table(), *tables])
        if not table.num_rows and self._parts[validation]:
            return
        path = f"{directory}/part-{self._parts[validation]:05d}.parquet"
        pq.write_table(
            table,
            self._storage.full(path),
            filesystem=self._storage.filesystem,
            compression="zstd",
        )
        self._parts[validation] += 1

    def _look_at(self, rows: pa.Table) -> None:
        """Keep what the preview may show: the first rows, and the first one of each kind."""
        seen = {row["kind"] for row in self._sample}
        for place, kind in enumerate(rows.column("kind").to_pylist()):
            if kind not in seen or len(self._sample) < 2 * _PREVIEW:
                seen.add(kind)
                self._sample += rows.slice(place, 1).to_pylist()

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
