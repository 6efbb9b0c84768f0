"""What `aiforge mission policy` and `source … --sync-every` change, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from aiforge.client import AIForge

Run = Callable[..., Result]


def policy(run: Run, *arguments: str) -> dict[str, Any]:
    done = run("mission", "policy", "p", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_what_is_given_changes_and_the_rest_stays(run: Run) -> None:
    before = policy(run)
    assert "failed_jobs" in before["watchers"]

    policy(run, "--off", "alert", "--threshold", "80")
    policy(run, "--quiet", "22:00-07:00", "--set", "drift_margin=0.1")
    after = policy(run, "--on", "full_disk", "--auto-approve", "retrain", "--auto-threshold", "97")

    assert after["watchers"] == ["retrain", "deploy", "full_disk"]
    assert after["quietHours"] == {"start": "22:00:00", "end": "07:00:00"}
    assert after["autoApproval"] == {
        "watchers": ["retrain"],
        "minConfidence": 97,
        "dailyLimit": before["autoApproval"]["dailyLimit"],
    }
    assert (after["minConfidence"], after["driftMargin"]) == (80, 0.1)
    changed = {"watchers", "quietHours", "autoApproval", "minConfidence", "driftMargin"}
    assert all(after[name] == before[name] for name in before.keys() - changed)
    assert policy(run) == after


def test_none_takes_quiet_hours_and_automatic_approval_away(run: Run, forge: AIForge) -> None:
    policy(run, "--quiet", "01:00-02:00")
    policy(run, "--auto-approve", "deploy", "--daily-limit", "3")
    shown = run("mission", "policy", "p").stdout
    assert "01:00-02:00 UTC" in shown
    assert "deploy from 95%, at most 3 in 24 hours" in shown

    policy(run, "--quiet", "none", "--auto-approve", "none")

    stored = forge.missions.policy("p")
    assert stored.quiet_hours is None
    assert stored.auto_approval.watchers == []
    assert stored.auto_approval.daily_limit == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--on", "weather"), "is none of retrain"),
        (("--on", "retrain", "--off", "retrain"), "both on and off"),
        (("--threshold", "101"), "min_confidence"),
        (("--quiet", "late"), "22:00-07:00"),
        (("--quiet", "25:00-07:00"), "quiet_hours.start"),
        (("--auto-approve", "alert"), "only a person"),
        (("--set", "mood=1"), "is none of min_confidence"),
        (("--set", "failures=many"), "is no number"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    run: Run, arguments: tuple[str, ...], reason: str
) -> None:
    before = policy(run)

    done = run("mission", "policy", "p", *arguments)

    assert done.exit_code == 2
    assert reason in " ".join(done.stderr.replace("│", " ").split())
    assert policy(run) == before


def test_a_source_takes_its_interval_as_a_person_writes_it(run: Run, make_repository: Any) -> None:
    place = str(make_repository({"a.py": "x = 1\n"}))
    made = run("source", "add", place, "--sync-every", "15m", "--detach", "--json")
    source = json.loads(made.stdout)
    assert source["syncSeconds"] == 900
    assert "15:00 min" in run("source", "show", source["id"]).stdout

    longer = run("source", "update", source["id"], "--sync-every", "2h", "--json")
    reset = run("source", "update", source["id"], "--sync-every", "default", "--json")

    assert json.loads(longer.stdout)["syncSeconds"] == 7200
    assert json.loads(reset.stdout)["syncSeconds"] is None
    assert run("source", "update", source["id"], "--sync-every", "soon").exit_code == 2
    refused = run("source", "update", source["id"], "--sync-every", "10s")
    assert refused.exit_code == 1
    assert "syncSeconds" in refused.stderr
    assert run("source", "add", place, "--upload", "--sync-every", "1d").exit_code == 2
