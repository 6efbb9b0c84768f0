"""Checkpoints are written beside the training; an error there ends the run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from fitting import Recorder, fit, prepare

from aiforge.training import checkpoint, worker
from aiforge.training.session import LocalSession


class Held(LocalSession):
    """A session whose first write waits until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.let_go, self.kept = threading.Event(), list[int]()
        self._wrap()

    def _wrap(self) -> None:
        begin = self._writer.begin

        def held(write: Any) -> None:
            def wait_and_write() -> None:
                assert self.let_go.wait(60)
                write()

            begin(wait_and_write)

        self._writer.begin = held  # type: ignore[method-assign]

    def keep(self, state: Any, step: int) -> None:
        super().keep(state, step)
        self.kept.append(step)


class LetsGo(Recorder):
    """Ends the wait when a step was reported."""

    def __init__(self, session: Held, step: int) -> None:
        super().__init__()
        self.session, self.step = session, step

    def metrics(self, points: Any) -> None:
        super().metrics(points)
        if points[-1].step == self.step:
            assert not self.session.directory.exists(), "nothing could be written before"
            self.session.let_go.set()


def test_training_goes_on_while_a_checkpoint_is_written(make_plan: Any, tmp_path: Path) -> None:
    plan = make_plan(epochs=2, checkpoint_every=3)
    whole = Recorder()
    fit(plan, tmp_path / "whole", whole)
    session = Held(tmp_path / "held")
    recorder = LetsGo(session, step=5)
    worker.run(plan, prepare(plan), session, recorder)
    assert session.kept[0] == 3
    assert [p.loss for p in recorder.points] == [p.loss for p in whole.points]
    theirs, ours = (checkpoint.load(tmp_path / name) for name in ("whole", "held"))
    assert ours.step == theirs.step == recorder.points[-1].step
    for name, tensors in theirs.tensors.items():
        for kind, tensor in tensors.items():
            assert ours.tensors[name][kind].equal(tensor), "later steps changed what was written"


@pytest.mark.parametrize("every", [3, 1000])
def test_a_checkpoint_that_cannot_be_written_ends_the_run(
    every: int, make_plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    recorder = Recorder()
    with pytest.raises(OSError, match="No space left"):
        fit(make_plan(epochs=2, checkpoint_every=every), tmp_path / "one", recorder)
    steps, total = len(recorder.points), recorder.figures["total_steps"]
    assert steps == min(2 * every, total), "the next checkpoint, or the end, finds out"
    assert "publishing" not in recorder.stages
