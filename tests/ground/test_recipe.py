"""A wrong recipe is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiforge import batch
from aiforge.errors import InvalidInput


def test_the_fault_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("project_name: p\nsource: {url: .}\ntrain: {epochs: 99}\n")

    with pytest.raises(InvalidInput, match=r"train\.epochs"):
        batch.read_recipe(path)


@pytest.mark.parametrize("text", ["- 1", "a: [", "project_name: p"])
def test_what_is_no_recipe_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)

    with pytest.raises(InvalidInput):
        batch.read_recipe(path)


def test_a_missing_file_exits_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch.main([str(tmp_path / "none.yaml")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: Cannot read")
    assert error.count("\n") == 1


def test_a_submitted_job_gives_its_runs_its_own_id(monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = batch.origin(Path("demo.yaml"))
    submitted = '{"metadata": {"job_submission_id": "nightly-7"}}'
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", submitted)

    assert by_hand.request_id.startswith("req-")
    assert batch.origin(Path("demo.yaml")).request_id == "nightly-7"
