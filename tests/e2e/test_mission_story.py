"""A repository changes, the platform notices, a person decides: the whole story, on real commits.

Run it by hand, it takes some minutes: ``pytest -m slow -s tests/e2e/test_mission_story.py``
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import prose
import psutil
import pytest
from harness import Platform
from prose import module

from aiforge.client import AIForge
from aiforge.runtime import cluster
from aiforge.schemas.missions import MissionDetail

Commit = Callable[[Path, str], str]

PROJECT = "story"
TRAINING: dict[str, Any] = {
    "epochs": 3,
    "learning_rate": 0.001,
    "rank": 16,
    "batch_size": 2,
    "gradient_accumulation": 1,
    "num_workers": 1,
}
RAFT = {
    "chunk_tokens": 120,
    "context_tokens": 512,
    "distractors": 1,
    "validation_fraction": 0.25,
}
PATIENCE = 600.0

NOUNS = (
    *prose.NOUNS,
    *("islands", "jackets", "kettles", "lanterns", "markets", "needles", "oceans", "pencils"),
)


def strange_module(seed: int) -> str:
    """A module whose words and style no other module of the repository has."""
    dice = random.Random(seed)

    def word() -> str:
        return "".join(dice.choice("bdfgklmnprstvz") + dice.choice("aeiou") for _ in range(3))

    parts = [f'"""The {word()} {word()} of {word()}."""\n']
    for _ in range(14):
        verb, thing, kind, other = word(), word(), word().title(), word()
        parts.append(
            f'''
def {verb}_{thing}({other}: {kind}, *, {word()}: float = {dice.random():.3f}) -> dict[str, {kind}]:
    """{verb.capitalize()} {thing} till the {other} {word()}s and map each {word()} to a {word()}.

    A {thing} that {word()}s twice is {word()}, so the {kind} keeps only its last {word()}.
    """
    {word()} = {{{other}.{word()}: {other}.{word()}() for {word()} in {other}.{word()}s}}
    return {kind}.{word()}({other}, {word()}=lambda {word()}: {word()} ** {dice.randint(2, 9)})
'''
        )
    return "".join(parts)


def told(title: str, value: Any) -> None:
    """Print a part of the story."""
    print(f"\n===== {title}")
    print(value if isinstance(value, str) else json.dumps(value, indent=2, default=str))


def until(what: str, look: Callable[[], Any]) -> Any:
    """The first true result of a look."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come within {PATIENCE:g} seconds")


class Story:
    """A project on a platform, and what a person does with it."""

    def __init__(
        self, platform: Platform, forge: AIForge, repository: Path, commit: Commit
    ) -> None:
        self.platform = platform
        self.forge = forge
        self.repository = repository
        self._commit = commit
        self.source_id = forge.sources.create_local(str(repository)).wait().id

    def commit(self, files: Mapping[str, str], message: str) -> None:
        """Commit files and have the platform read them."""
        for path, text in files.items():
            (self.repository / path).write_text(text)
        self._commit(self.repository, message)
        self.forge.sources.sync(self.source_id).wait()

    def pending(self, type: str) -> MissionDetail | None:
        page = self.forge.missions.list(
            status="pending_approval",
            type=type,
            project_name=PROJECT,  # type: ignore[arg-type]
        )
        assert len(page.missions) <= 1
        return self.forge.missions.get(page.missions[0].id) if page.missions else None

    def mission(self, type: str) -> MissionDetail:
        found: MissionDetail = until(f"a {type} mission", lambda: self.pending(type))
        return found

    def run(self, *arguments: str) -> str:
        done = self.platform.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_story(
    platform: Platform,
    make_repository: Callable[[Mapping[str, str | bytes]], Path],
    commit: Commit,
) -> None:
    repository = make_repository({f"pkg_{name}.py": module(name) for name in NOUNS})
    with AIForge(platform.url) as forge:
        story = Story(platform, forge, repository, commit)
        _first_model(story)
        retrain = _new_module(story)
        _deploy_the_better(story, retrain)
        _rejection(story)
        _killed_dispatcher(story)


def _first_model(story: Story) -> None:
    forge = story.forge
    dataset = forge.datasets.generate(
        "story", [story.source_id], max_examples=200, base_model="forge-tiny", raft=RAFT
    ).wait()
    job = forge.jobs.fine_tune(PROJECT, dataset.id, "forge-tiny", **TRAINING).wait()
    mission = story.mission("deploy")
    told("A first version is proposed", mission.model_dump(mode="json"))
    assert mission.recommended_action.parameters["modelId"]
    forge.missions.approve(mission.id, comment="The first one")
    done = forge.missions.wait(mission.id, timeout=PATIENCE)
    told("It is active", done.execution and done.execution.model_dump(mode="json"))
    assert _active(story)["jobId"] == job.id


def _active(story: Story) -> dict[str, Any]:
    answer = story.forge._http.get("/models/active", params={"projectName": PROJECT})
    active: dict[str, Any] = answer.raise_for_status().json()
    return active


def _new_module(story: Story) -> MissionDetail:
    story.commit({"strange.py": strange_module(1)}, "Add a strange module")
    mission = story.mission("retrain")
    told("New commits raise a retrain mission", mission.model_dump(mode="json"))
    told("as a person sees it", story.run("mission", "show", mission.id))
    evidence = mission.evidence
    assert evidence["perplexityChanged"] > evidence["perplexityHeldOut"]
    assert evidence["changedFiles"] == ["strange.py"]
    assert evidence["effectInterval"][0] > 0
    before = _active(story)["id"]
    datasets = story.forge.datasets.list().total
    story.forge.missions.approve(mission.id, comment="Looks good", version=mission.version)
    done = story.forge.missions.wait(mission.id, timeout=PATIENCE)
    assert done.execution is not None
    assert done.execution.dataset_id
    assert story.forge.datasets.list().total == datasets + 1
    assert _active(story)["id"] == before
    measured: MissionDetail = until(
        "an outcome", lambda: _with_outcome(story.forge.missions.get(mission.id))
    )
    told("What it changed", measured.outcome and measured.outcome.model_dump(mode="json"))
    assert measured.outcome is not None
    assert measured.outcome.after < measured.outcome.before
    return measured


def _with_outcome(mission: MissionDetail) -> MissionDetail | None:
    return mission if mission.outcome is not None else None


def _deploy_the_better(story: Story, retrain: MissionDetail) -> None:
    mission = story.mission("deploy")
    told("The new version is better", mission.model_dump(mode="json"))
    assert retrain.execution is not None
    assert mission.recommended_action.parameters["modelId"] == retrain.execution.model_id
    story.run("mission", "approve", mission.id, "--wait")
    assert _active(story)["id"] == retrain.execution.model_id
    told("Track record", story.run("mission", "record", PROJECT))


def _rejection(story: Story) -> None:
    story.commit({"odd.py": strange_module(2)}, "Add an odd module")
    mission = story.mission("retrain")
    story.run("mission", "reject", mission.id, "--reason", "Not enough new code")
    for _ in range(3):
        # A look follows every sync.
        story.forge.sources.sync(story.source_id).wait()
        assert story.pending("retrain") is None
    told("Rejected, and silent", story.forge.missions.get(mission.id).model_dump(mode="json"))


def _killed_dispatcher(story: Story) -> None:
    files = {f"more_{number}.py": strange_module(number) for number in (3, 4, 5)}
    story.commit(files, "Add much more")
    mission = story.mission("retrain")
    jobs = story.forge.jobs.list(project_name=PROJECT).total
    datasets = story.forge.datasets.list().total
    victim = _process_of(story.platform, "ray::DispatcherActor")
    story.forge.missions.approve(mission.id, comment="Go")
    victim.kill()
    victim.wait(10)
    done = story.forge.missions.wait(mission.id, timeout=PATIENCE)
    told("Killed between approval and execution", done.execution and done.execution.model_dump())
    assert story.forge.jobs.list(project_name=PROJECT).total == jobs + 1
    assert story.forge.datasets.list().total == datasets + 1


def _process_of(platform: Platform, title: str) -> psutil.Process:
    info = cluster.running(platform.settings)
    assert info is not None
    return next(
        process
        for process in cluster.processes_of(info.id, info.pid)
        if " ".join(process.cmdline()).startswith(title)
    )
