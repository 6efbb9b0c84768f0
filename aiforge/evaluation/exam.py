"""An exam from the user's own repository: functions whose body its own tests check.

The repository's code and tests are as untrusted as a model's: all of it runs in the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from pydantic import TypeAdapter, ValidationError

from aiforge.errors import Failure
from aiforge.evaluation.exam_items import ExamItem
from aiforge.evaluation.sandbox import Limits, Outcome, Sandbox
from aiforge.sources.snapshot import read_manifest, read_table
from aiforge.storage import Storage

Progress = Callable[[float], None]

RUN_LIMITS = Limits(seconds=10.0, memory_bytes=1 << 31, processes=64)

_RUN_TESTS = """\
import os, sys
sys.path[:0] = [path for path in (os.getcwd(), os.path.join(os.getcwd(), "src"))]
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
import pytest
options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "--tb=line"]
assert pytest.main([*options, *{tests!r}]) == 0
"""


@contextlib.contextmanager
def materialised(files: Mapping[str, str]) -> Iterator[Path]:
    """Files of a repository in a directory that a confined program may read."""
    with tempfile.TemporaryDirectory(prefix="aiforge-exam-") as name:
        root = Path(name) / "repository"
        root.mkdir()
        for path, content in files.items():
            target = (root / path).resolve()
            if not target.is_relative_to(root.resolve()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8", newline="")
        for directory, folders, names in os.walk(name):
            Path(directory).chmod(0o755)
            for entry in (*folders, *names):
                (Path(directory) / entry).chmod(0o755)
        yield root


def read_files(storage: Storage, snapshot: str) -> dict[str, str]:
    """The text files of a snapshot by path."""
    files: dict[str, str] = {}
    for name in read_manifest(storage, snapshot).files:
        table = read_table(storage, f"{snapshot}/{name}", ["path", "content"])
        files |= {row["path"]: row["content"] for row in table.to_pylist()}
    return files


def sit(sandbox: Sandbox, root: Path, item: ExamItem, text: str) -> Outcome:
    """Run an item's tests with another text of its file, which is put back afterwards."""
    target = root / item.path
    before = target.read_bytes()
    target.write_text(text, encoding="utf-8", newline="", errors="replace")
    try:
        limits = Limits(
            seconds=item.seconds,
            memory_bytes=RUN_LIMITS.memory_bytes,
            processes=RUN_LIMITS.processes,
        )
        return sandbox.run(_RUN_TESTS.format(tests=item.tests), limits, directory=root)
    finally:
        target.write_bytes(before)


def sit_all(
    sandbox: Sandbox,
    files: Mapping[str, str],
    attempts: Sequence[tuple[ExamItem, str]],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Run attempts side by side, each worker with a copy of the repository of its own.

    Args:
        files: The repository's text files by path.
        attempts: Items, each with a body.
    """
    number = min(workers or len(os.sched_getaffinity(0)), max(1, len(attempts)))
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as opened, materialised(files) as root:
        roots: SimpleQueue[Path] = SimpleQueue()
        for index in range(number):
            copy = root.parent / f"copy-{index}"
            shutil.copytree(root, copy)
            roots.put(copy)

        def attempt(item: ExamItem, body: str) -> Outcome:
            own = roots.get()
            try:
                return sit(sandbox, own, item, item.file(body))
            finally:
                roots.put(own)

        pool = opened.enter_context(ThreadPoolExecutor(number))
        pending = [pool.submit(attempt, item, body) for item, body in attempts]
        for done, future in enumerate(pending, 1):
            outcomes.append(future.result())
            if progress is not None:
                progress(done / len(pending))
    return outcomes


def dump(items: Iterable[ExamItem]) -> bytes:
    """Items as JSON."""
    return json.dumps([item.model_dump() for item in items]).encode()


def load(data: bytes) -> list[ExamItem]:
    """Items from JSON.

    Raises:
        Failure: It holds none.
    """
    try:
        return TypeAdapter(list[ExamItem]).validate_json(data)
    except ValidationError as error:
        raise Failure("The dataset's exam cannot be read.", code="exam_unreadable") from error
