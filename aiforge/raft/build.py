"""A RAFT dataset from snapshots: split, chunk, cluster, ask, choose distractors, account for all.

The stages that cost time run through a ``Mapper``, so that one plain process and a Ray cluster
do the very same. Neither a text nor an example passes through the process that drives a build
until the examples are written, block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiforge.errors import Failure
from aiforge.raft.extras import Extras, changes_of
from aiforge.raft.output import Sink
from aiforge.raft.packs import fingerprint, remember_files
from aiforge.raft.planning import Plan, SnapshotRef, plan_blocks
from aiforge.raft.rounds import Rounds
from aiforge.raft.selection import Selection, select
from aiforge.raft.stages import ChunkTask, DraftTask, Mapper, chunk_block, draft_block
from aiforge.raft.survey import Survey
from aiforge.raft.teaching import Teaching
from aiforge.schemas.datasets import DatasetFormat, RaftConfig, StageYield, YieldReport
from aiforge.storage import Storage, build_dir, dataset_dir

__all__ = ["Build", "BuildResult", "Progress", "SnapshotRef"]

# Blocks of 4 MB: seconds of work to split, and milliseconds to ask about.
_CHUNKED_AT_ONCE = 8
_DRAFTED_AT_ONCE = 256

Progress = Callable[[float, str, int], None]
"""Called with a fraction from 0 to 1, the stage, and the examples so far.

What it raises stops the build.
"""


@dataclass(frozen=True)
class BuildResult:
    """What a build made; ``quality`` is from 0 to 1.

    ``new_files`` had to be split; of ``pairs`` of a question and its answer, some more than there
    are examples, ``reused_pairs`` were made by an earlier build.
    """

    train_count: int
    validation_count: int
    chunk_count: int
    quality: float | None
    report: YieldReport
    preview: list[dict[str, Any]]
    new_files: int
    pairs: int
    reused_pairs: int


@dataclass(frozen=True)
class Build:
    """One build of a dataset.

    Args:
        map: Where the stages run.
        teaching: Asks a model for questions beside those that need none.
    """

    storage: Storage
    dataset_id: str
    snapshots: Sequence[SnapshotRef]
    config: RaftConfig
    max_examples: int
    format: DatasetFormat
    tokenizer_json: str
    map: Mapper
    progress: Progress
    teaching: Teaching | None = None

    def run(self) -> BuildResult:
        """Build, and write the dataset; nothing of it stays behind where that fails.

        A build that was killed goes on where it was: blocks and shards that it finished are found.

        Raises:
            Failure: ``dataset_empty``; the message gives the main reason and the remedy. With a
                teacher also what ``Teaching.teach`` raises.
        """
        directory = dataset_dir(self.dataset_id)
        try:
            for part in ("train", "validation"):
                self.storage.delete(f"{directory}/{part}")
            result = self._run()
            self.storage.delete(build_dir(self.dataset_id))
            return result
        except BaseException:
            self.storage.delete(directory)
            raise

    def _run(self) -> BuildResult:
        self.progress(0.0, "splitting files", 0)
        key = fingerprint(self.config, self.tokenizer_json)
        plan = plan_blocks(self.storage, self.snapshots, self.config, key)
        survey = self._survey(plan)
        for source, packs in plan.packs().items():
            remember_files(self.storage, source, key, packs)
        stages = [plan.report, survey.report()]
        if not stages[-1].left:
            raise _empty(stages)
        self.progress(0.5, "comparing chunks", 0)
        clusters = survey.cluster()
        extras = changes_of(self.storage, ((each.source_id, each.path) for each in self.snapshots))
        if self.teaching is not None:
            self._teach(self.teaching, survey, clusters, extras)
            stages.append(self.teaching.report())
        selection = self._select(survey, clusters, extras)
        stages.append(selection.report)
        rounds = self._examples(survey, clusters, selection, extras)
        stages += rounds.reports()
        if not rounds.train_count:
            raise _empty(stages)
        return self._write(plan, survey, clusters, rounds, stages)

    def _survey(self, plan: Plan) -> Survey:
        task = ChunkTask(self.storage.uri, self.tokenizer_json, self.config)
        survey = Survey()
        done = 0
        tables = self.map(chunk_block, plan.blocks, task, at_once=_CHUNKED_AT_ONCE)
        for block, table in zip(plan.blocks, tables, strict=True):
            survey.add(block, table)
            done += block.file_count
            self.progress(0.5 * done / max(plan.file_count, 1), "chunking files", 0)
        return survey

    def _teach(
        self, teaching: Teaching, survey: Survey, clusters: NDArray[np.int64], extras: Extras
    ) -> None:
        teaching.teach(
            self.storage.uri,
            self.config.seed,
            self.map,
            survey,
            clusters,
            self.max_examples,
            extras,
            lambda part: self.progress(0.5 + 0.1 * part, "asking the teacher", 0),
        )

    def _select(self, survey: Survey, clusters: NDArray[np.int64], extras: Extras) -> Selection:
        task = DraftTask(self.storage.uri, survey.census(), self.config.seed, extras)
        tables = []
        for table in self.map(draft_block, survey.blocks, task, at_once=_DRAFTED_AT_ONCE):
            tables.append(table)
            share = len(tables) / len(survey.blocks)
            self.progress(0.6 + 0.05 * share, "finding questions", 0)
        return select(tables, clusters, survey.training)

    def _examples(
        self,
        survey: Survey,
        clusters: NDArray[np.int64],
        selection: Selection,
        extras: Extras,
    ) -> Rounds:
        def on_made(count: int) -> None:
            part = min(1.0, count / self.max_examples)
            self.progress(0.65 + 0.3 * part, "making examples", count)

        rounds = Rounds(
            self.storage,
            self.dataset_id,
            self.config,
            self.tokenizer_json,
            self.map,
            survey.blocks,
            clusters,
            survey.training,
            selection,
            extras,
            on_made,
        )
        on_made(0)
        rounds.run(self.max_examples)
        return rounds

    def _write(
        self,
        plan: Plan,
        survey: Survey,
        clusters: NDArray[np.int64],
        rounds: Rounds,
        stages: list[StageYield],
    ) -> BuildResult:
        total = rounds.train_count + rounds.validation_count
        sink = Sink(self.storage, self.dataset_id, self.format, clusters, total)
        for rows in rounds.rows():
            sink.add(rows)
            self.progress(0.97, "writing examples", total)
        report, quality, preview = sink.finish(
            stages, survey.cleaned, self.teaching.use if self.teaching else None
        )
        rounds.remember()
        return BuildResult(
            rounds.train_count,
            rounds.validation_count,
            survey.count,
            quality,
            report,
            preview,
            plan.file_count - sum(len(block.known) for block in plan.blocks),
            rounds.pairs,
            rounds.reused,
        )


def _empty(stages: Sequence[StageYield]) -> Failure:
    """The failure of a build without training examples: where they were lost, and what to do."""
    index = next((i for i, stage in enumerate(stages) if not stage.left), len(stages) - 1)
    lost, before = stages[index], stages[max(0, index - 1)]
    reasons = sorted(lost.dropped.items(), key=lambda item: -item[1])
    because = ", ".join(f"{count} × {reason}" for reason, count in reasons[:3])
    if lost.entered:
        detail = f"of {lost.entered} {lost.stage} none was left{f' ({because})' if because else ''}"
    else:
        detail = f"none of the {before.left} {before.stage} gave {lost.stage}"
    return Failure(
        f"No training examples could be made: {detail}. "
        "Choose sources with documented functions or headings, widen their include patterns, "
        "or raise chunkTokens and contextTokens.",
        code="dataset_empty",
        stages=[stage.model_dump() for stage in stages],
    )
