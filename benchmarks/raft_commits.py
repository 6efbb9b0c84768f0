"""Two builds of one repository side by side: cold, and 15 commits later.

A real git repository is made of modules of Python's standard library; each commit changes, adds,
moves or removes some. The later snapshot is built twice, on what the first build left and from
nothing, so that both can be compared.

    python benchmarks/raft_commits.py [--quick]
"""

from __future__ import annotations

import os
import random
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import raft_scale
from common import arguments
from rich.console import Console
from rich.table import Table

from aiforge.modeling.bases import resolve_base_model, tokenizer_json
from aiforge.raft.build import BuildResult
from aiforge.schemas.datasets import RaftConfig
from aiforge.settings import Settings
from aiforge.sources.sync import sync_local
from aiforge.storage import Storage

COMMITS = 15
CONFIG = RaftConfig(chunk_tokens=256, context_tokens=2048)
EXAMPLES = 100_000


def main() -> None:
    """Build, change, build again, and show both accounts."""
    options = arguments(__doc__)
    packages = ("json", "email") if options.quick else ("json", "email", "asyncio", "unittest")
    tokenizer = tokenizer_json(resolve_base_model("forge-tiny", Settings()))
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "repository"
        storage = Storage(str(Path(directory) / "storage"))
        _first_commit(root, packages)
        results: dict[str, tuple[BuildResult, float]] = {}
        results["cold"] = _build(storage, root, tokenizer)
        for number in range(COMMITS):
            _change(root, random.Random(number), number)
        results[f"{COMMITS} commits later"] = _build(storage, root, tokenizer)
        raft_scale.forget(storage)
        results["the same, from nothing"] = _build(storage, root, tokenizer)
    _show(results)


def _build(storage: Storage, root: Path, tokenizer: str) -> tuple[BuildResult, float]:
    synced = sync_local(
        storage, "src-1", str(root), include=["*.py"], exclude=[], allowed_roots=[root]
    )
    return raft_scale.build_here(storage, synced.snapshot, CONFIG, tokenizer, EXAMPLES)


def _first_commit(root: Path, packages: tuple[str, ...]) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    for package in packages:
        for path in sorted((library / package).glob("*.py")):
            target = root / package / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    _git(root, "init", "-q", "-b", "main")
    _commit(root, "Begin")


def _change(root: Path, rng: random.Random, number: int) -> None:
    """One commit: two files edited, now and then one added, moved or removed."""
    files = sorted(path for path in root.rglob("*.py") if path.name != "__init__.py")
    for path in rng.sample(files, 2):
        path.write_text(raft_scale.with_a_function_changed(path.read_text("utf-8"), rng), "utf-8")
    if number % 5 == 1:
        new = files[0].parent / f"added_{number}.py"
        new.write_text(
            f"def added_{number}(count: int) -> int:\n"
            f'    """Return one more than the count that is given as number {number}."""\n'
            "    more = count\n    more += 1\n    return more\n",
            "utf-8",
        )
    elif number % 5 == 2:
        files[-1].rename(files[-1].with_name(f"moved_{number}.py"))
    elif number % 5 == 3:
        files[len(files) // 2].unlink()
    _commit(root, f"Change {number}")


def _commit(root: Path, message: str) -> None:
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", message)


def _git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *identity, *arguments], cwd=root, env=environment, check=True)


def _show(results: dict[str, tuple[BuildResult, float]]) -> None:
    table = Table(title=f"Two builds, {COMMITS} commits apart", title_justify="left")
    table.add_column("stage")
    for name in results:
        table.add_column(name, justify="right")
    reports = [result.report for result, _ in results.values()]
    for stages in zip(*(report.stages for report in reports), strict=True):
        table.add_row(stages[0].stage, *(f"{each.entered:,} → {each.left:,}" for each in stages))
        for reason in dict.fromkeys(reason for each in stages for reason in each.dropped):
            table.add_row(f"  {reason}", *(f"{each.dropped.get(reason, 0):,}" for each in stages))
    built = [result for result, _ in results.values()]
    table.add_row("files split anew", *(f"{each.new_files:,}" for each in built))
    table.add_row("pairs taken over", *(f"{each.reused_pairs:,}" for each in built))
    table.add_row("training examples", *(f"{each.train_count:,}" for each in built))
    table.add_row("validation examples", *(f"{each.validation_count:,}" for each in built))
    table.add_row("quality", *(f"{each.quality}" for each in built))
    table.add_row("CPU seconds", *(f"{seconds:.1f}" for _, seconds in results.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
