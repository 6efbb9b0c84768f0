"""Kills one part of a running platform after another, and checks what became of the work.

    python tests/crash/kills.py [--rounds 10] [--victims state,driver,…] [--json PATH]

A round starts a run on a tiny repository, kills the victim with SIGKILL at a random moment of it,
and waits until the run has ended, while a client writes all the time. Then nothing that was
acknowledged may be missing, nothing may have happened twice, the run must have completed with the
result that an undisturbed one has or have failed with a reason, and no process, driver or
placement group may be left. One platform serves all rounds; the last victim is all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from aiforge.runtime import cluster
from aiforge.schemas.runs import Run, RunStatus
from aiforge.settings import Settings
from aiforge.state import events, metrics, runs
from aiforge.state.lifecycles import RUN
from aiforge.state.reader import Reader
from aiforge.state.schema import now

NAMES = ("apples", "bridges", "clouds", "drums", "engines", "forests", "gates", "hills")
END_SECONDS = 900
IDLE_SECONDS = 60
LATE = " before the kill"
RAFT = {"chunkTokens": 120, "contextTokens": 512, "distractors": 1, "validationFraction": 0.25}
TRAINING = {
    "projectName": "crash",
    "baseModel": "forge-tiny",
    "method": "lora",
    "epochs": 1,
    "rank": 4,
    "batchSize": 1,
    "gradientAccumulation": 1,
    "maxSeqLength": 256,
}


@dataclass(frozen=True)
class Victim:
    """What is killed: processes whose title begins so; all of the cluster where it is empty.

    The rounds take turns with the works.
    """

    name: str
    title: str
    works: tuple[str, ...]


VICTIMS = (
    Victim("state", "ray::StateActor", ("train", "generate")),
    Victim("dispatcher", "ray::DispatcherActor", ("train", "generate")),
    Victim("driver", "ray::Driver", ("generate",)),
    Victim("API replica", "ray::ServeReplica:aiforge:Api", ("generate", "train")),
    Victim("train worker", "ray::RayTrainWorker", ("train",)),
    Victim("training driver", "ray::Driver", ("train",)),
    Victim("export driver", "ray::Driver", ("export",)),
    Victim("whole cluster", "", ("train", "generate")),
)


@dataclass
class Round:
    """What became of one kill."""

    victim: str
    work: str
    progress: float
    outcome: str
    attempts: int
    answered: float
    ended: float
    writes: int
    faults: list[str] = field(default_factory=list)


class Writer(threading.Thread):
    """A client that writes without a pause and repeats what was not acknowledged."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self._url, self.name = url, name
        self._over = threading.Event()
        self.acknowledged: dict[str, str] = {}

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=40, trust_env=False) as api:
            while not self._over.is_set():
                key = uuid.uuid4().hex
                while (made := self._write(api, key)) is None:
                    time.sleep(0.2)
                self.acknowledged[key] = made
                time.sleep(0.1)

    def _write(self, api: httpx.Client, key: str) -> str | None:
        body = {"name": self.name, "scopes": ["jobs:read"]}
        try:
            answer = api.post("/keys", json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError:
            return None
        if answer.status_code == 201:
            return str(answer.json()["id"])
        detail = answer.json().get("detail", {}) if answer.status_code == 409 else {}
        return detail.get("keyId")

    def stop(self) -> None:
        self._over.set()
        self.join(60)


class Platform:
    """A platform of its own, as a user starts it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.settings = Settings(home=root / "home", port=port)
        self.url = f"http://127.0.0.1:{port}"
        self.api = httpx.Client(base_url=self.url, timeout=40, trust_env=False)
        self.reader: Reader | None = None

    def up(self) -> None:
        done = self._cli("up", "--detach")
        if done.returncode:
            raise SystemExit(f"The platform does not start: {done.stderr[-800:]}")
        self.reader = self.reader or Reader(self.settings.resolved_database_url)

    def down(self) -> None:
        self._cli("down")

    def _cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: v for name, v in os.environ.items() if not name.startswith(("RAY_", "DS_"))}
        own = {"AIFORGE_HOME": str(self.settings.home), "AIFORGE_PORT": str(self.settings.port)}
        return subprocess.run(
            [sys.executable, "-m", "aiforge.cli", *arguments],
            env=kept | own, cwd=self.root, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def read(self, op: Callable[..., Any], *arguments: Any) -> Any:
        assert self.reader is not None
        return self.reader.run(op, arguments, {})

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request that is repeated with one key until it is answered."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        for _ in range(60):
            with contextlib.suppress(httpx.HTTPError):
                answer = self.api.post(path, json=body, headers=headers)
                if answer.is_success:
                    return dict(answer.json())
                if answer.status_code < 500:
                    raise SystemExit(f"{path}: {answer.text[:500]}")
            time.sleep(0.5)
        raise SystemExit(f"{path} is not answered.")

    def processes(self, title: str = "") -> list[psutil.Process]:
        info = cluster.read_info(self.settings)
        found = cluster.processes_of(info.id, info.pid) if info else []
        if not title:
            return found
        chosen = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(title):
                    chosen.append(process)
        return chosen

    def until(self, happened: Callable[[], Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)
        return found

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.api.get("/health", timeout=3).status_code == 200
        return False


def repository(root: Path) -> Path:
    """A small git repository whose functions differ."""
    path = root / "repository"
    path.mkdir()
    for name in NAMES:
        functions = [
            textwrap.dedent(f'''
            def {verb}_{name}({name}: list[int], amount: int = {number}) -> int:
                """{verb.capitalize()} the {name} and return how many of them were left.

                Items below {number} are not counted, since {name} of {verb}s come from outside.
                """
                left = [item for item in {name} if item >= amount + {number}]
                return len(left) * {number}
            ''')
            for number, verb in enumerate(("count", "sort", "merge", "drop", "rank"), len(name))
        ]
        (path / f"{name}.py").write_text(f'"""Work on {name}."""\n' + "\n".join(functions))
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for arguments in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=path, check=True)
    return path


class Works:
    """The runs that are disturbed, and how long each takes when it is not."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        made = platform.post(
            "/data-sources", {"type": "git", "url": str(repository(platform.root))}
        )
        self._ended(made["parsingJobId"])
        self.source_id = made["sourceId"]
        self.seconds: dict[str, float] = {}
        self.results: dict[str, Any] = {}
        self.dataset_id = self._measure("generate").resource_id
        self.job_id = self._measure("train").id
        self._measure("export")

    def start(self, work: str) -> str:
        """Queue a run; its id."""
        if work == "train":
            return str(self.platform.post("/v1/fine-tune", self._training())["jobId"])
        if work == "export":
            return self._export()
        body = {"name": "crash", "sourceIds": [self.source_id], "maxExamples": 40, "raft": RAFT}
        dataset_id = self.platform.post("/datasets/generate", body)["datasetId"]
        return str(self.platform.read(run_of, dataset_id))

    def _export(self) -> str:
        """An export that is there already would be the answer, so it is removed first."""
        path = f"/jobs/{self.job_id}/exports"
        for export in self.platform.api.get(path).raise_for_status().json():
            self.platform.api.delete(f"{path}/{export['exportId']}").raise_for_status()
        made = self.platform.post(f"/jobs/{self.job_id}/export", {"quantization": "q4_k_m"})
        return str(self.platform.read(run_of, made["exportId"]))

    def _training(self) -> dict[str, Any]:
        return TRAINING | {"datasetId": self.dataset_id}

    def _ended(self, run_id: str) -> Run:
        ended = self.platform.until(lambda: terminal(self.platform, run_id), END_SECONDS)
        if ended is None or ended.status is not RunStatus.COMPLETED:
            raise SystemExit(f"An undisturbed run did not complete: {ended}")
        return ended

    def _measure(self, work: str) -> Run:
        for _ in range(2):
            run = self._ended(self.start(work))
            assert run.started_at is not None
            assert run.finished_at is not None
            self.seconds[work] = (run.finished_at - run.started_at).total_seconds()
            self.results[work] = self.result(run)
        return run

    def result(self, run: Run) -> Any:
        """What must be the same, however often a run was begun again."""
        if run.kind == "train":
            curve = self.platform.read(metrics.history, run.id)
            return [run.result["steps"], curve.steps]
        if run.kind == "export":
            return run.result["sha256"]
        counts = ("trainCount", "validationCount", "chunkCount")
        return [run.result[name] for name in counts]


def run_of(connection: Any, resource_id: str) -> str:
    """Id of the run that builds a dataset."""
    query = runs.runs.select().where(runs.runs.c.resource_id == resource_id)
    return str(connection.execute(query).one().id)


def terminal(platform: Platform, run_id: str) -> Run | None:
    """The run, once it has ended."""
    run: Run = platform.read(runs.get, run_id)
    return run if run.status in RUN.terminal else None


def has_lasted(platform: Platform, run_id: str, seconds: float) -> bool:
    """Whether a run has gone on for so long, or is over."""
    run: Run = platform.read(runs.get, run_id)
    begun = run.started_at or now()
    return (now() - begun).total_seconds() >= seconds or run.status in RUN.terminal


def kill_once(platform: Platform, works: Works, victim: Victim, number: int) -> Round:
    """One round."""
    writer = Writer(platform.url, f"{victim.name} {uuid.uuid4().hex[:8]}")
    writer.start()
    work = victim.works[number % len(victim.works)]
    run_id = works.start(work)
    platform.until(lambda: platform.read(runs.get, run_id).status != "queued", END_SECONDS)
    targets = platform.until(lambda: platform.processes(victim.title), IDLE_SECONDS) or []
    moment = random.uniform(0, 0.9) * works.seconds[work]
    platform.until(lambda: has_lasted(platform, run_id, moment), END_SECONDS)
    targets = [one for one in targets if one.is_running()] or platform.processes(victim.title)
    at = platform.read(runs.get, run_id).progress
    targets = platform.processes(victim.title) or targets
    was_over = terminal(platform, run_id) is not None
    begun = time.monotonic()
    kill(targets)
    if not victim.title:
        platform.up()
    platform.until(platform.answers, END_SECONDS)
    answered = time.monotonic() - begun
    run = platform.until(lambda: terminal(platform, run_id), END_SECONDS)
    ended = time.monotonic() - begun
    writer.stop()
    faults = check(platform, works, writer, run)
    faults += [] if was_over else leftovers(platform)
    outcome = "hung" if run is None else str(run.status)
    if run is not None and run.status is RunStatus.FAILED:
        outcome += f": {run.error}"
    if was_over:
        outcome += LATE
    return Round(
        victim=victim.name,
        work=work,
        progress=at,
        outcome=outcome,
        attempts=run.attempt if run else 0,
        answered=round(answered, 2),
        ended=round(ended, 2),
        writes=len(writer.acknowledged),
        faults=faults,
    )


def kill_in_time(platform: Platform, works: Works, victim: Victim, number: int) -> Round:
    """A round whose run was still going when the victim died; the third try counts as it is."""
    for _ in range(3):
        done = kill_once(platform, works, victim, number)
        print(json.dumps(asdict(done)), flush=True)
        if done.faults or not done.outcome.endswith(LATE):
            break
    return done


def kill(targets: list[psutil.Process]) -> None:
    """SIGKILL, to all at once."""
    for process in targets:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(targets, timeout=10)


def check(platform: Platform, works: Works, writer: Writer, run: Run | None) -> list[str]:
    """What is wrong with the state after a round."""
    faults = []
    known = {key["id"]: key["name"] for key in every_key(platform)}
    lost = [made for made in writer.acknowledged.values() if made not in known]
    mine = sum(1 for one in known.values() if one == writer.name)
    if lost:
        faults.append(f"{len(lost)} acknowledged writes are lost")
    # The write that was under way when the writer stopped may be there without an answer.
    if not 0 <= mine - len(set(writer.acknowledged.values())) <= 1:
        faults.append(f"{mine} keys for {len(writer.acknowledged)} writes")
    if run is None:
        return [*faults, "the run has not ended"]
    told = [event.type.partition(".")[2] for event in platform.read(events.after, 0, run.id, 500)]
    ends = [one for one in told if one in ("completed", "failed", "cancelled")]
    if len(ends) != 1 or told.count("running") != 1:
        faults.append(f"events tell {told}")
    if run.status is RunStatus.FAILED and not run.error:
        faults.append("failed without a reason")
    if run.status is RunStatus.COMPLETED and works.result(run) != works.results[work_of(run)]:
        faults.append(f"another result: {works.result(run)}")
    return faults


def work_of(run: Run) -> str:
    return str(run.kind)


def every_key(platform: Platform) -> Iterator[dict[str, Any]]:
    """All API keys."""
    offset = 0
    while True:
        page = platform.api.get("/keys", params={"limit": 500, "offset": offset}).json()
        yield from page
        if len(page) < 500:
            return
        offset += len(page)


def leftovers(platform: Platform) -> list[str]:
    """What is left once every run has ended: drivers, workers, placement groups."""
    platform.until(lambda: not platform.read(runs.active), END_SECONDS)
    titles = ("ray::Driver", "ray::RayTrainWorker", "ray::TrainController")
    faults = [
        f"{title} is left"
        for title in titles
        if not platform.until(lambda title=title: not platform.processes(title), IDLE_SECONDS)
    ]
    if not platform.until(lambda: not placement_groups(platform), IDLE_SECONDS):
        faults.append(f"placement groups are left: {placement_groups(platform)}")
    return faults


def placement_groups(platform: Platform) -> list[str]:
    """Placement groups that hold resources, as the cluster's dashboard tells."""
    info = cluster.read_info(platform.settings)
    assert info is not None
    token = (platform.settings.home / "ray_auth_token").read_text().strip()
    answer = httpx.get(
        f"{info.dashboard}/api/v0/placement_groups",
        headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False,
    )  # fmt: skip
    found = answer.raise_for_status().json()["data"]["result"]["result"]
    return [group["placement_group_id"] for group in found if group["state"] != "REMOVED"]


def report(rounds: list[Round]) -> None:
    """The matrix: victim, outcomes, times."""
    print(f"\n{'victim':16} {'kills':>5} {'completed':>9} {'other':>6} {'again':>6} {'writes':>7} "
          f"{'answers s':>12} {'ended s':>14} faults")  # fmt: skip
    for name in dict.fromkeys(one.victim for one in rounds):
        mine = [one for one in rounds if one.victim == name]
        completed = sum(one.outcome.startswith("completed") for one in mine)
        others = Counter(one.outcome for one in mine if not one.outcome.startswith("completed"))
        again = sum(one.attempts > 1 for one in mine)
        answered = [one.answered for one in mine]
        ended = [one.ended for one in mine]
        faults = [fault for one in mine for fault in one.faults]
        print(
            f"{name:16} {len(mine):5} {completed:9} {sum(others.values()):6} {again:6} "
            f"{sum(one.writes for one in mine):7} "
            f"{statistics.median(answered):5.1f}/{max(answered):5.1f} "
            f"{statistics.median(ended):6.1f}/{max(ended):6.1f}  {faults or 'none'}"
        )
        for outcome, number in others.items():
            print(f"{'':16} {number} × {outcome}")
    print("answers, ended: seconds after the kill, median/most; again: begun again")


def run_rounds(number: int, victims: list[Victim], seconds: float | None = None) -> list[Round]:
    """Kill each victim a number of times; rounds that do not fit into ``seconds`` are left out."""
    root = Path(tempfile.mkdtemp(prefix="aifk", dir="/tmp"))
    platform = Platform(root)
    begun = time.monotonic()
    done = []
    try:
        platform.up()
        works = Works(platform)
        print(f"Undisturbed: {works.seconds} seconds, results {works.results}", flush=True)
        for turn in range(number):
            for victim in victims:
                if seconds is not None and time.monotonic() - begun > seconds:
                    continue
                done.append(kill_in_time(platform, works, victim, turn))
    finally:
        platform.down()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--victims", default=",".join(victim.name for victim in VICTIMS))
    parser.add_argument("--seconds", type=float, help="start no further round after so long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chosen = [victim for victim in VICTIMS if victim.name in options.victims.split(",")]
    rounds = run_rounds(options.rounds, chosen, options.seconds)
    report(rounds)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in rounds], indent=1) + "\n")
    if any(one.faults for one in rounds):
        raise SystemExit("Something was lost, doubled or left.")


if __name__ == "__main__":
    main()
