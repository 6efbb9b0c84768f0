"""Checkpoints in a directory, whatever moment a writer is killed at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aiforge.errors import NotFound
from aiforge.training import checkpoint
from aiforge.training.checkpoint import TrainState


class Killed(BaseException):
    """The process ends here."""


def state(step: int) -> TrainState:
    return TrainState(step, {"layer": {"master": torch.full((2, 3), float(step))}})


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_a_writer_that_is_killed_leaves_the_older_checkpoint_or_the_newer(
    survived: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "checkpoint"
    checkpoint.save(state(1), directory)
    real, renamed = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        if len(renamed) == survived:
            raise Killed
        renamed.append(target)
        return real(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        if survived < 2:
            with pytest.raises(Killed):
                checkpoint.save(state(2), directory)
        else:
            checkpoint.save(state(2), directory)

    found = checkpoint.load(directory)
    wanted = 2 if survived == 2 else 1
    assert found.step == wanted
    assert found.tensors["layer"]["master"].tolist() == [[wanted] * 3] * 2
    checkpoint.save(state(3), directory)
    assert checkpoint.load(directory).step == 3


def test_a_directory_without_a_checkpoint_is_told_from_one(tmp_path: Path) -> None:
    assert checkpoint.find(tmp_path) is None
    with pytest.raises(NotFound):
        checkpoint.load(tmp_path)
