"""A writer that is killed in the middle of its work loses nothing that it acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from aiforge.schemas.runs import RunStatus
from aiforge.state import counts, runs, sources
from aiforge.state.ops import read
from aiforge.state.reader import Reader

KILLS = 3

WRITER = """
import sys
from samples import NONE, new_source
from aiforge.state import outcomes, runs, sources
from aiforge.state.access import LocalState
from aiforge.state.store import Store

state = LocalState(Store(sys.argv[1]))
while True:
    made = state.call_sync(sources.create, new_source(), NONE)
    print(made.source_id, flush=True)
    state.call_sync(outcomes.cancel, made.parsing_job_id)
"""


@read
def totals(connection: object) -> tuple[int, int, int]:
    """Sources, runs as they are counted, and runs that are counted as waiting."""
    number = sources.page(connection, 1, 0).total  # type: ignore[arg-type]
    counted = counts.total(connection)  # type: ignore[arg-type]
    waiting = counts.total(connection, None, RunStatus.QUEUED)  # type: ignore[arg-type]
    return number, counted, waiting


def test_a_killed_writer_has_lost_nothing_and_readers_go_on(database_url: str) -> None:
    reader = Reader(database_url)
    acknowledged: set[str] = set()
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )
        assert process.stdout is not None
        for _ in range(random.randint(5, 40)):
            acknowledged.add(process.stdout.readline().strip())
            # Reading goes on beside the writer, and sees what it acknowledged.
            reader.run(sources.get, (max(acknowledged),), {})
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()

        number, counted, waiting = reader.run(totals, (), {})
        for source_id in acknowledged:
            assert reader.run(sources.get, (source_id,), {}).id == source_id
        # One write may have been under way: it is there as a whole, or not at all.
        assert len(acknowledged) <= number == counted <= len(acknowledged) + KILLS
        assert waiting == len(reader.run(runs.waiting, (), {})) <= KILLS
    reader.close()
