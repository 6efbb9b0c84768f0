"""Finds the functions of a repository that its own tests check, and makes an exam of them.

After RepoExec (arXiv 2406.11927) and EvoCodeBench (arXiv 2404.00599): coverage tells which tests
run which function; a function is kept only if its tests pass with the body as it is and fail with
a stub. What the repository's tests report is parsed as something hostile.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aiforge.errors import Cancelled, Failure
from aiforge.evaluation.exam import Progress, materialised, read_files, sit
from aiforge.evaluation.exam_items import ExamItem, find_items, is_test_file
from aiforge.evaluation.sandbox import Limits, Outcome, Sandbox
from aiforge.evaluation.sandbox_probe import open_sandbox
from aiforge.storage import Storage

MAX_CANDIDATES = 2000
MAX_TESTS = 8
"""Tests of one function, the quickest first."""

COVERAGE_SECONDS = 180.0

_REPORT = "\n-----coverage-----\n"
_REPORT_BYTES = 8 << 20

_COVER = """\
import json, os, sys, time
sys.path[:0] = [path for path in (os.getcwd(), os.path.join(os.getcwd(), "src"))]
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
import coverage, pytest

files = {files!r}
deadline = time.monotonic() + {seconds!r}
cover = coverage.Coverage(data_file=None, config_file=False, include=list(files))

class Contexts:
    seconds = {{}}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item):
        if time.monotonic() > deadline:
            item.session.shouldstop = "out of time"
        cover.switch_context(item.nodeid)
        begun = time.monotonic()
        outcome = yield
        cover.switch_context("")
        if outcome.excinfo is None:
            self.seconds[item.nodeid] = time.monotonic() - begun

contexts = Contexts()
options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--tb=no"]
options.append("--continue-on-collection-errors")
cover.start()
pytest.main([*options, *{tests!r}], plugins=[contexts])
cover.stop()
data = cover.get_data()
found = {{}}
for path, functions in files.items():
    by_line = data.contexts_by_lineno(os.path.abspath(path))
    for name, (first, last) in functions.items():
        tests = {{t for line in range(first, last + 1) for t in by_line.get(line, ())}}
        timed = sorted((contexts.seconds[t], t) for t in tests if t in contexts.seconds)
        if timed:
            found[name] = timed[:{most!r}]
sys.stdout.flush()
os.write(1, {report!r}.encode() + json.dumps(found).encode())
"""

_FOUND = TypeAdapter(dict[str, list[tuple[float, str]]])


@dataclass
class Mined:
    """An exam, and what became of the functions that could have been in it."""

    items: list[ExamItem]
    reasons: dict[str, int] = field(default_factory=dict)

    def note(self, reason: str) -> None:
        """Count a function that was left out."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def mine(
    sandbox: Sandbox,
    files: Mapping[str, str],
    snapshot: str,
    wanted: int,
    *,
    seed: int = 0,
    seconds: float = COVERAGE_SECONDS,
    progress: Progress | None = None,
) -> Mined:
    """Make an exam of a repository.

    Args:
        files: The repository's text files by path.
        snapshot: Where they are from, relative to the storage.
        wanted: So many functions at most.
        seed: Of which ones are asked for.
        seconds: For the run of the tests with coverage; what was not run by then checks nothing.
        progress: Called with the share done; what it raises stops the work.
    """
    tests = sorted(path for path in files if is_test_file(path) and path.endswith(".py"))
    candidates = {
        item.id: item
        for path, source in sorted(files.items())
        if path.endswith(".py") and not is_test_file(path)
        for item in find_items(path, source, snapshot)
    }
    mined = Mined([])
    if not candidates or not any(not path.endswith("conftest.py") for path in tests):
        return mined
    order = sorted(candidates)
    random.Random(seed).shuffle(order)
    order = order[:MAX_CANDIDATES]
    with materialised(files) as root:
        covering = _cover(sandbox, root, [candidates[name] for name in order], tests, seconds)
        for number, name in enumerate(order):
            if len(mined.items) >= wanted:
                break
            if progress is not None:
                progress(max(number / len(order), len(mined.items) / wanted))
            if name not in covering:
                mined.note("no test runs it")
                continue
            item = _timed(candidates[name], covering[name])
            if reason := _unfit(sandbox, root, item):
                mined.note(reason)
            else:
                mined.items.append(item)
    return mined


def mine_snapshots(
    storage: Storage,
    snapshots: Sequence[str],
    wanted: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Mined:
    """Make one exam of several snapshots, of each as much as the others leave open.

    Raises:
        Unavailable: No sandbox holds here.
        Failure: The tests of none of them can be run.
    """
    sandbox = open_sandbox()
    whole = Mined([])
    faults: list[Failure] = []
    for number, snapshot in enumerate(snapshots):

        def report(share: float, done: int = number) -> None:
            if progress is not None:
                progress((done + share) / len(snapshots))

        left = wanted - len(whole.items)
        files = read_files(storage, snapshot)
        try:
            part = mine(sandbox, files, snapshot, left, seed=seed, progress=report)
        except Cancelled:
            raise
        except Failure as error:
            faults.append(error)
            continue
        whole.items += part.items
        for reason, count in part.reasons.items():
            whole.reasons[reason] = whole.reasons.get(reason, 0) + count
    if len(faults) == len(snapshots) and faults:
        raise faults[0]
    return whole


def _cover(
    sandbox: Sandbox, root: Path, items: Sequence[ExamItem], tests: list[str], seconds: float
) -> dict[str, list[tuple[float, str]]]:
    """Which tests, with their seconds, run the body of which item."""
    files: dict[str, dict[str, tuple[int, int]]] = {}
    for item in items:
        first = (item.before + item.prompt).count("\n") + 1
        span = first, first + item.body.rstrip("\n").count("\n")
        files.setdefault(item.path, {})[item.id] = span
    test_files = [path for path in tests if not path.endswith("conftest.py")]
    program = _COVER.format(
        files=files, seconds=seconds, tests=test_files, most=MAX_TESTS, report=_REPORT
    )
    limits = Limits(
        seconds=seconds + 30,
        memory_bytes=1 << 32,
        processes=64,
        output_bytes=_REPORT_BYTES,
    )
    outcome = sandbox.run(program, limits, directory=root)
    _, _, report = outcome.output.rpartition(_REPORT)
    try:
        found = _FOUND.validate_json(report)
    except ValidationError as error:
        raise Failure(
            f"The repository's tests could not be run: {_last_line(outcome)}",
            code="exam_not_possible",
        ) from error
    known = {item.id for item in items}
    files_of_tests = set(test_files)
    return {
        name: [(cost, test) for cost, test in timed if test.split("::")[0] in files_of_tests]
        for name, timed in found.items()
        if name in known
    }


def _timed(item: ExamItem, covering: list[tuple[float, str]]) -> ExamItem:
    cost = sum(seconds for seconds, _ in covering[:MAX_TESTS])
    tests = [test for _, test in covering[:MAX_TESTS]]
    return item.model_copy(update={"tests": tests, "seconds": min(60.0, 10 + 3 * cost)})


def _unfit(sandbox: Sandbox, root: Path, item: ExamItem) -> str | None:
    """Why an item examines nothing, or ``None``."""
    if not item.tests:
        return "no test runs it"
    if not sit(sandbox, root, item, item.file(item.body)).passed:
        return "its tests fail by themselves"
    if sit(sandbox, root, item, item.stub()).passed:
        return "its tests pass without it"
    return None


def _last_line(outcome: Outcome) -> str:
    lines = outcome.output.strip().splitlines()
    return (lines[-1] if lines else outcome.reason)[:300]
