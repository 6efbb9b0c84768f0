"""One kill of each part of a running platform; ``kills.py`` does it many times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import kills


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_lost_doubled_or_left() -> None:
    rounds = kills.run_rounds(1, list(kills.VICTIMS))

    assert {one.victim for one in rounds} == {victim.name for victim in kills.VICTIMS}
    assert [(one.victim, one.faults) for one in rounds if one.faults] == []
    assert all(one.outcome.startswith(("completed", "failed: ")) for one in rounds)
