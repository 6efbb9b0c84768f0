"""HumanEval (Chen et al., arXiv 2107.03374): functions completed from their docstring, and tested.

The problems are read from a JSONL file or the hub; the code runs in the sandbox.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, cast

from pydantic import BaseModel, Field, ValidationError

from aiforge.errors import InvalidInput, Unavailable
from aiforge.evaluation.sandbox import Limits, Outcome, Sandbox
from aiforge.modeling import hub

MAX_PROBLEMS = 10_000
MAX_LINE_BYTES = 1 << 20
HUB_SECONDS = 20.0
HUB_FILE = "openai_humaneval/test-00000-of-00001.parquet"

INSTRUCTION = "Complete this Python function.\n\n```python\n{prompt}\n```"
OPENING = "```python\n{prompt}"
"""How the answer begins, so that a completion is the function's body whoever gives it."""

STOP = (
    *("\n```", "\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ", "\nimport "),
    "\nfrom ",
)
"""What can follow a function's body; the body ends there."""

LIMITS = Limits(seconds=10.0)


class Problem(BaseModel):
    """One problem; the field names are those of the published file."""

    task_id: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1)
    entry_point: str = Field(pattern=r"^[A-Za-z_]\w*$")
    canonical_solution: str
    test: str = Field(min_length=1)

    def program(self, body: str) -> str:
        """The program that passes where the body is right."""
        return f"{self.prompt}{body}\n\n{self.test}\n\ncheck({self.entry_point})\n"


def load_problems(source: str, limit: int | None = None) -> list[Problem]:
    """The problems of a JSONL file, gzipped or not, or of a dataset on the hub.

    Args:
        source: A path, or a hub id such as ``openai/openai_humaneval``.
        limit: Only so many, from the first on.

    Raises:
        InvalidInput: The file is no such file.
        Unavailable: The hub does not answer and its cache does not have them
            (``humaneval_unavailable``).
    """
    path = Path(source).expanduser()
    if path.is_file():
        rows = _read_lines(path)
    elif hub.is_hub_id(source):
        rows = _read_parquet(_from_hub(source))
    else:
        raise InvalidInput(
            f"{source} is neither a file nor a hub id; set AIFORGE_HUMANEVAL to a JSONL file.",
            code="humaneval_not_found",
        )
    try:
        problems = [Problem.model_validate(row) for row in islice(rows, limit or MAX_PROBLEMS)]
    except (ValidationError, ValueError, OSError, EOFError) as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidInput(
            f"{source} does not hold HumanEval's problems: {first}", code="humaneval_invalid"
        ) from error
    if len({problem.task_id for problem in problems}) != len(problems):
        raise InvalidInput(f"{source} holds a task twice.", code="humaneval_invalid")
    return problems


def _read_lines(path: Path) -> Iterable[object]:
    with _opened(path) as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError("a line is too long")
            if line.strip():
                yield json.loads(line)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb") if zipped else path.open("rb"))


def _read_parquet(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return rows


def _from_hub(source: str) -> Path:
    """The dataset's file from the cache or the hub, within ``HUB_SECONDS``."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(source, HUB_FILE, repo_type="dataset")
    if isinstance(cached, str):
        return Path(cached)
    found: list[str | Exception] = []

    def fetch() -> None:
        try:
            found.append(hf_hub_download(source, HUB_FILE, repo_type="dataset", etag_timeout=5))
        except Exception as error:  # the hub's client raises what its transport raises
            found.append(error)

    # Name resolution knows no time limit, so the hub is asked by a thread that may be left.
    thread = threading.Thread(target=fetch, name="hub-problems", daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    if found and isinstance(found[0], str):
        return Path(found[0])
    raise Unavailable(
        f"HumanEval's problems cannot be had from {source}; put HumanEval.jsonl.gz somewhere and "
        "name it in AIFORGE_HUMANEVAL.",
        code="humaneval_unavailable",
        retryAfter=60,
    )


def run_all(
    sandbox: Sandbox,
    programs: Sequence[str],
    *,
    limits: Limits = LIMITS,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Outcome]:
    """Run programs side by side, one per core by default, and give their outcomes in order.

    Args:
        progress: Called with the share done; what it raises stops the work.
    """
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        pending = [pool.submit(sandbox.run, program, limits) for program in programs]
        try:
            for future in pending:
                outcomes.append(future.result())
                if progress is not None:
                    progress(len(outcomes) / len(pending))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes
