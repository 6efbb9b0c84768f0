"""A worker that is killed in the middle of a block costs that block, and changes nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from corpora import Run, Write, corpus_files, rows_of

from aiforge.raft.build import Build
from aiforge.raft.packs import Block
from aiforge.raft.stages import ChunkTask, chunk_block
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

Shared = tuple[ChunkTask, str, str]


def chunk_or_die(block: Block, shared: Shared) -> pa.Table:
    """Chunk a block and leave a note of it; the worker that is first at one of them is killed.

    A block that is finished is only read again, which is not worth a note.
    """
    task, notes, victim = shared
    name = block.path.rpartition("/")[2]
    if not Storage(task.storage_uri).exists(block.pack):
        (Path(notes) / f"{name}.{os.getpid()}").touch()
    if name == victim and len(list(Path(notes).glob(f"{name}.*"))) == 1:
        from aiforge.raft import stages

        # After all is split and before any of it is written.
        stages.write_arrow = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    return chunk_block(block, task)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_worker_costs_one_block(
    ray_cluster: None,
    storage: Storage,
    write_snapshot: Write,
    run_build: Run,
    tokenizer_json: str,
    tmp_path: Path,
) -> None:
    from ray import cloudpickle

    from aiforge.raft.ray_build import _quiet_and_ordered, map_on_cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    snapshot = write_snapshot(corpus_files(), block=2)
    undisturbed = run_build(snapshot, dataset_id="here", max_examples=80)
    storage.delete("sources/src-1/chunks")
    storage.delete("sources/src-1/pairs")
    notes = tmp_path / "notes"
    notes.mkdir()
    blocks: list[str] = []

    def map_deadly(
        function: Callable[[Any, Any], pa.Table],
        items: Sequence[Any],
        shared: Any,
        at_once: int = 1,
    ) -> Iterator[pa.Table]:
        if function is not chunk_block:
            return map_on_cluster(function, items, shared, at_once)
        blocks.extend(item.path.rpartition("/")[2] for item in items)
        return map_on_cluster(chunk_or_die, items, (shared, str(notes), blocks[1]), at_once)

    with _quiet_and_ordered():
        build = Build(
            storage,
            "there",
            [snapshot],
            RaftConfig(validation_fraction=0.25),
            80,
            "alpaca",
            tokenizer_json,
            map_deadly,
            lambda *_: None,
        )
        result = build.run()
    assert len(blocks) > 3
    attempts = Counter(note.name.rpartition(".")[0] for note in notes.iterdir())
    assert attempts == Counter({name: 2 if name == blocks[1] else 1 for name in blocks})
    assert result.report == undisturbed.report
    for split in ("train", "validation"):
        assert rows_of(storage, split, "there") == rows_of(storage, split, "here")
