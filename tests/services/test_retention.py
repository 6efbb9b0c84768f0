"""What is collected, and that nothing which anything refers to ever is."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from buckets import ObjectStore
from hypothesis import given
from hypothesis import strategies as st

from aiforge import storage as layout
from aiforge.schemas.runs import RunKind
from aiforge.services.retention import Sweep, collect, unit_of
from aiforge.settings import Retention
from aiforge.state.references import References
from aiforge.storage import Storage

NOW = 2_000_000_000.0
HOUR, DAY = 3600.0, 86_400.0
IDS = st.integers(0, 5)
AGES = st.sampled_from([0.0, 1.0, 23.0, 25.0, 24 * 40.0])
"""In hours; a day is the grace, 30 days are the life of a cache."""


@dataclass
class World:
    """Files under a local storage, and what refers to them."""

    storage: Storage
    references: References = field(default_factory=References)

    def put(self, path: str, hours: float = 1000.0, content: bytes = b"x") -> str:
        self.storage.write_bytes(path, content)
        moment = NOW - hours * HOUR
        os.utime(self.storage.full(path), (moment, moment))
        return path

    def sweep(self, **policy: Any) -> Sweep:
        return Sweep(
            self.storage, Retention(**policy), lambda: self.references.model_copy(deep=True),
            clock=lambda: NOW,
        )  # fmt: skip

    def collect(self, **policy: Any) -> dict[str, str]:
        """Collect; what went, with why."""
        sweep = self.sweep(**policy)
        return {one.path: one.reason for one in collect(sweep, sweep.find())}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Storage(str(tmp_path / "storage")))


FILES: list[tuple[str, Callable[[str], str]]] = [
    ("src", lambda id: f"{layout.git_mirror(id)}/HEAD"),
    ("src", layout.latest_snapshot),
    ("src", lambda id: f"{layout.chunks_dir(id, 'k')}/blobs.arrow"),
    ("src", lambda id: f"{layout.pairs_dir(id, 'k')}/pairs.json"),
    ("ds", lambda id: f"{layout.dataset_dir(id)}/train/part-00000.parquet"),
    ("ds", lambda id: f"{layout.build_dir(id)}/block"),
    ("job", lambda id: f"{layout.adapter_dir(id)}/adapter_model.safetensors"),
    ("job", lambda id: f"{layout.run_dir(id)}/step-00000001-aa/state.json"),
    ("job", lambda id: f"{layout.run_dir(id)}/step-00000002-bb/state.json"),
    ("export", lambda id: f"{layout.export_dir(id)}/model.gguf"),
]
Files = st.lists(st.tuples(st.sampled_from(FILES), IDS, AGES), max_size=25)


@given(
    files=Files,
    snapshots=st.lists(st.tuples(IDS, IDS, AGES), max_size=6),
    contents=st.lists(st.tuples(IDS, AGES), max_size=4),
    known=st.sets(st.sampled_from([f"{p}-{n}" for p in ("src", "ds", "job", "export")
                                   for n in range(6)])),
    busy=st.sets(st.sampled_from([f"{p}-{n}" for p in ("src", "ds", "job") for n in range(6)])),
    kept=st.sets(st.tuples(IDS, IDS)),
    digests=st.sets(IDS),
    cut=st.integers(0, 30),
)  # fmt: skip
def test_nothing_that_is_referred_to_goes_and_all_that_is_not_does(
    files: Any, snapshots: Any, contents: Any, known: set[str], busy: set[str],
    kept: set[tuple[int, int]], digests: set[int], cut: int,
) -> None:  # fmt: skip
    root = Path(tempfile.mkdtemp(prefix="gc"))
    try:
        world = World(Storage(str(root)))
        refs = world.references
        refs.ids, refs.busy = known | busy, busy
        refs.snapshots = {layout.snapshot_dir(f"src-{s}", f"r{r}") for s, r in kept}
        refs.contents = {f"{digit:064x}" for digit in digests}
        paths: dict[str, float] = {}
        for (prefix, make), number, hours in files:
            paths[world.put(make(f"{prefix}-{number}"), hours)] = hours
        for source, revision, hours in snapshots:
            directory = layout.snapshot_dir(f"src-{source}", f"r{revision}")
            paths[world.put(f"{directory}/manifest.json", hours)] = hours
        for number, hours in contents:
            paths[world.put(layout.artifact_file(f"{number:064x}"), hours)] = hours
        # Whoever is interrupted goes on at the next call.
        sweep = world.sweep(checkpoints=0)
        for _, _ in zip(range(cut), collect(sweep, sweep.find()), strict=False):
            pass
        world.collect(checkpoints=0)

        for path, hours in paths.items():
            there = world.storage.exists(path)
            if _is_wanted(path, refs) or hours < _kept_hours(path, refs):
                assert there, path
            elif all(other >= 24 for of, other in paths.items() if _alike(of, path)):
                assert not there, path
        assert not world.collect(checkpoints=0)
    finally:
        shutil.rmtree(root)


def _is_wanted(path: str, refs: References) -> bool:
    room, owner, *rest = path.split("/")
    if owner in refs.busy:
        return True
    if room == "artifacts":
        return rest[0] in refs.contents
    if rest[0] == "snapshots":
        return "/".join(path.split("/")[:4]) in refs.snapshots
    if rest[0] in ("build", "chunks", "pairs") or room == "runs":
        return False
    has_snapshot = any(one.split("/")[1] == owner for one in refs.snapshots)
    return owner in refs.ids or has_snapshot


def _kept_hours(path: str, refs: References) -> float:
    """How long what nobody refers to stays: what a living source's builds made, as a cache does."""
    _, owner, *rest = path.split("/")
    return 24.0 * (30 if rest[0] in ("chunks", "pairs") and owner in refs.ids else 1)


def _alike(path: str, other: str) -> bool:
    """Whether two files may belong to one unit, the younger of which protects the older."""
    return path.split("/")[:2] == other.split("/")[:2]


def test_blocks_and_caches_go_when_nobody_made_or_used_them_for_long(world: World) -> None:
    world.references.ids = {"src-1"}
    young, old = 29 * 24.0, 31 * 24.0
    for number, hours in enumerate((young, old)):
        world.put(f"{layout.chunks_dir('src-1', f'k{number}')}/blobs.arrow", hours)
        world.put(f"{layout.factors_dir(f'f{number}')}/manifest.json", hours)
        world.put(f"{layout.packed_dir(f'p{number}')}/manifest.json", hours)
        world.put(f"{layout.measured_dir(f'm{number}')}/a.json", hours)
        world.put(f"{layout.teacher_dir(f't{number}')}/a.jsonl", hours)
    world.references.open_kinds = {RunKind.TRAIN}

    assert set(world.collect()) == {"sources/src-1/chunks/k1", "cache/measured/m1"}
    world.references.open_kinds = set()
    assert set(world.collect()) == {"cache/pissa/f1", "cache/packed/p1"}
    # A teacher's replies were paid for, and stay unless somebody says how long.
    assert set(world.collect(teacher_days=30)) == {"cache/teacher/t1"}


def test_the_newest_checkpoint_of_an_ended_job_can_be_resumed_from(world: World) -> None:
    run = layout.run_dir("job-1")
    for step in (1, 2, 3):
        world.put(f"{run}/step-{step:08d}-aa/state.json", 100 - step)
    world.put(f"{run}/step-00000009-orphan/state.json")
    named = b'{"latest_checkpoint_result": {"checkpoint_dir_name": "step-00000003-aa"}}'
    world.put(f"{run}/checkpoint_manager_snapshot.json", content=named)

    went = set(world.collect(checkpoints=1))

    assert went == {
        f"{run}/step-00000001-aa", f"{run}/step-00000002-aa", f"{run}/step-00000009-orphan"
    }  # fmt: skip
    world.references.busy = {"job-1"}
    assert not world.collect(checkpoints=0)


def test_writes_that_never_ended_go_wherever_they_are(world: World) -> None:
    world.references.ids = {"ds-1", "export-1"}
    world.put("datasets/ds-1/.report.json.0123.partial")
    world.put("datasets/ds-1/.preview.json.0123.partial", hours=1)
    world.put("exports/.export-2.4567.partial/model.gguf")
    world.put("exports/export-1/model.gguf")
    world.put("work/aiforge-run-1/made")
    world.put("work/aiforge-run-2/made")
    world.references.open_runs = {"run-2"}

    went = world.collect()

    assert set(went) == {
        "datasets/ds-1/.report.json.0123.partial", "exports/.export-2.4567.partial",
        "work/aiforge-run-1",
    }  # fmt: skip


def test_what_others_put_there_is_not_touched(world: World) -> None:
    for path in ("README", "mine/data.bin", "sources/notes.txt", "cache/other/k/file"):
        world.put(path)
    assert not world.collect()
    assert unit_of("mine/data.bin") is None


def test_what_is_referred_to_or_written_after_the_look_stays(world: World) -> None:
    one = world.put(f"{layout.dataset_dir('ds-1')}/report.json")
    two = world.put(f"{layout.dataset_dir('ds-2')}/report.json")
    world.put(f"{layout.dataset_dir('ds-3')}/report.json")
    sweep = world.sweep()
    found = sweep.find()
    world.references.ids = {"ds-1"}
    sweep._read_at = float("-inf")
    world.put(two, hours=0)

    went = [garbage.path for garbage in collect(sweep, found)]

    assert went == [layout.dataset_dir("ds-3")]
    assert world.storage.exists(one)
    assert world.storage.exists(two)


def test_a_kill_in_the_middle_leaves_nothing_that_looks_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = layout.snapshot_dir("src-1", "r1")
    world.references.ids = {"src-1"}
    for name in ("manifest.json", "a.parquet", "b.parquet"):
        world.put(f"{directory}/{name}")
    monkeypatch.setattr(Storage, "delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.collect()
    monkeypatch.undo()

    assert not world.storage.exists(directory)
    assert [one.kind for one in world.sweep().find()] == ["temporary"]
    assert world.collect()
    assert world.storage.names("sources/src-1/snapshots") == []


def test_an_object_store_is_collected_too(object_store: ObjectStore) -> None:
    bucket = Storage(object_store.uri)
    paths = [
        f"{layout.snapshot_dir('src-1', 'r1')}/manifest.json",
        f"{layout.snapshot_dir('src-1', 'r2')}/manifest.json",
        f"{layout.snapshot_dir('src-1', 'r2')}/a.parquet",
        layout.artifact_file("a" * 64),
        layout.artifact_file("b" * 64),
    ]
    for path in paths:
        bucket.write_bytes(path, b"x" * 10)
    references = References(
        ids={"src-1"}, snapshots={layout.snapshot_dir("src-1", "r1")}, contents={"a" * 64}
    )
    young = Sweep(bucket, Retention(), lambda: references)
    old = Sweep(bucket, Retention(), lambda: references, clock=lambda: time.time() + 2 * DAY)

    assert young.find() == []
    found = old.find()
    went = list(collect(old, found))

    assert {one.path: one.size for one in went} == {
        layout.snapshot_dir("src-1", "r2"): 20, layout.artifact_file("b" * 64): 10
    }  # fmt: skip
    assert went == found
    assert [bucket.exists(path) for path in paths] == [True, False, False, True, False]
