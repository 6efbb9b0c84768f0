"""How dataset builds behave beyond one cold build: rebuilt, spread over workers, with a teacher."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from common import Goal, Report

from aiforge.raft.build import Build, BuildResult, SnapshotRef
from aiforge.raft.packs import Block
from aiforge.raft.stages import chunk_file, map_here
from aiforge.raft.teacher import TeacherPlan, ask_here
from aiforge.raft.teacher_http import parse_endpoint
from aiforge.raft.teacher_prompts import TeacherTask
from aiforge.raft.tokens import token_counter
from aiforge.schemas.datasets import RaftConfig, TeacherConfig
from aiforge.sources.sync import sync_local
from aiforge.storage import Storage

_TEACHER = Path(__file__).parents[1] / "tests" / "raft" / "teacher_server.py"
_LATENCY = 0.2
_SLOTS = 64
_LOOK_SECONDS = 5.0  # between looks at the memory of all processes, which take a while
# Of the files that are changed; some have no function that could be.
_SHARE = 0.033
_DEF = re.compile(r"^( *)def \w+\(.*\):\n", re.MULTILINE)


def build_here(
    storage: Storage, snapshot: str, config: RaftConfig, tokenizer_json: str, examples: int
) -> tuple[BuildResult, float]:
    """One build in this process, and its CPU seconds."""
    start = time.process_time()
    result = Build(
        storage,
        "ds-1",
        [SnapshotRef("src-1", snapshot)],
        config,
        examples,
        "alpaca",
        tokenizer_json,
        map_here,
        lambda _fraction, _stage, _made: None,
    ).run()
    return result, time.process_time() - start


def forget(storage: Storage) -> None:
    """Remove what builds keep between them."""
    for kept in ("chunks", "pairs"):
        storage.delete(f"sources/src-1/{kept}")


def rebuild(
    report: Report,
    storage: Storage,
    snapshot: str,
    config: RaftConfig,
    tokenizer_json: str,
    examples: int,
    cold: float,
) -> None:
    """A build after one function changed in 3 % of the files, beside the cold one before."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        count = _changed_tree(storage, snapshot, tree)
        changed = sync_local(
            storage, "src-1", str(tree), include=["*.py"], exclude=[], allowed_roots=[tree]
        )
    result, seconds = build_here(storage, changed.snapshot, config, tokenizer_json, examples)
    report.add("rebuild: files changed", 100 * count / changed.file_count, "%")
    report.add("rebuild: files split anew", result.new_files, "files")
    report.add("rebuild: pairs taken over", 100 * result.reused_pairs / result.pairs, "%")
    report.add("rebuild after a 3 % change", 100 * seconds / cold, "% of cold", goal=Goal("<=", 20))


def _changed_tree(storage: Storage, snapshot: str, tree: Path) -> int:
    """The files of a snapshot, one function of 3 % of them changed; how many were."""
    import pyarrow.parquet as pq

    rng = random.Random(0)
    changed = 0
    for path in sorted(Path(storage.full(snapshot)).glob("files-*.parquet")):
        table = pq.read_table(path, columns=["path", "content"])
        names, contents = (table.column(name).to_pylist() for name in ("path", "content"))
        for name, text in zip(names, contents, strict=True):
            if rng.random() < _SHARE:
                before, text = text, with_a_function_changed(text, rng)
                changed += before != text
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    return changed


def with_a_function_changed(text: str, rng: random.Random) -> str:
    """Python source with one more line in one function; as it is where there is none."""
    found = list(_DEF.finditer(text))
    if not found:
        return text
    at = rng.choice(found)
    return f"{text[: at.end()]}{at[1]}    changed = True\n{text[at.end() :]}"


def workers(
    report: Report,
    storage: Storage,
    snapshots: tuple[str, str],
    config: RaftConfig,
    tokenizer_json: str,
    examples: int,
) -> None:
    """The same build on clusters of one and of two workers, whose processes are warm.

    Each worker has one core, which the cluster's own processes and the build's share: so the two
    figures differ by one core. Of the snapshots the first warms the processes, the second is
    built: it must fill several shards, or the workers wait for one of them.
    """
    walls = {}
    for number in (1, 2):
        with _cluster(number):
            given = (config, tokenizer_json, examples)
            _on_cluster(storage, snapshots[0], *given)
            wall, cpu, peak = _on_cluster(storage, snapshots[1], *given)
            walls[number] = wall
            report.add(f"cluster of {number}: wall time", wall, "s")
            report.add(f"cluster of {number}: all processes", examples / cpu, "examples/CPU-s")
            report.add(f"cluster of {number}: peak memory of all", peak / 2**20, "MiB")
    report.add("from 1 to 2 workers of a core each", walls[1] / walls[2], "×", goal=Goal(">=", 1.6))


@contextlib.contextmanager
def _cluster(number: int) -> Iterator[None]:
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    cores = os.sched_getaffinity(0)
    # What this process starts inherits it.
    os.sched_setaffinity(0, sorted(cores)[:number])
    ray.init(
        num_cpus=number,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=512 << 20,
    )
    try:
        yield
    finally:
        ray.shutdown()
        os.sched_setaffinity(0, cores)


def _on_cluster(
    storage: Storage, snapshot: str, config: RaftConfig, tokenizer_json: str, examples: int
) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds of all processes, and the most memory that they took."""
    from aiforge.raft.ray_build import build_dataset

    peak, looked = 0, 0.0

    def watch(_fraction: float, _stage: str, _made: int) -> None:
        nonlocal peak, looked
        if time.perf_counter() - looked > _LOOK_SECONDS:
            looked = time.perf_counter()
            peak = max(peak, sum(process.memory_full_info().pss for process in _processes()))

    forget(storage)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    build_dataset(
        storage.uri,
        "ds-2",
        [SnapshotRef("src-1", snapshot)],
        config=config,
        max_examples=examples,
        format="alpaca",
        tokenizer_json=tokenizer_json,
        progress=watch,
    )
    return time.perf_counter() - wall, _cpu_seconds() - cpu, peak


def _processes() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _cpu_seconds() -> float:
    total = 0.0
    for process in _processes():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def teacher(report: Report, texts: list[str], tokenizer_json: str, quick: bool) -> None:
    """Requests that a server which answers each after a fixed time gets, over what it could."""
    block = Block("", "src-1", "", frozenset(), len(texts))
    counter = token_counter(tokenizer_json)
    tasks = []
    for number, text in enumerate(texts):
        row = {"path": f"{number}.py", "content": text, "language": "python"}
        tasks += [
            TeacherTask(f"{number}-{chunk.id}", chunk.path, chunk.text)
            for chunk in chunk_file(row | {"blob": "", "license": None}, block, counter, 256)
        ]
    tasks = tasks[: 1000 if quick else 6000]
    config = TeacherConfig(model="echo", url="http://127.0.0.1:1/v1", slots=_SLOTS)
    with tempfile.TemporaryDirectory() as directory, _server() as url:
        address = parse_endpoint(url, ["127.0.0.1"])
        plan = TeacherPlan(directory, "ds-1", config.model_copy(update={"url": url}), address)
        start, cpu = time.perf_counter(), time.process_time()
        answered = sum(asked.requests for asked in ask_here(plan, tasks))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    best = _SLOTS / _LATENCY
    report.add("teacher: requests", answered / wall, "requests/s")
    report.add("teacher: requests per CPU time", answered / cpu, "requests/CPU-s")
    report.add(
        f"teacher: of {_SLOTS} slots ÷ {_LATENCY:g} s",
        100 * answered / wall / best,
        "%",
        goal=Goal(">=", 80),
    )


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """The tests' endpoint in a process of its own; gives its URL."""
    command = [sys.executable, str(_TEACHER), str(_LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def peak_memory() -> float:
    """The most memory that this process took so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
