"""Keeps a platform busy for a long time, and says whether anything of it grows or is left behind.

    python tests/soak/soak.py [--minutes 120] [--json PATH] [--plot PATH]

Clients ask and write without a pause and open and drop event streams, while rounds of work go
one after another: a commit, a sync, a dataset, a small training. A round is left alone, or
cancelled, or its driver or a worker is killed. Once State, dispatcher and an API replica are
killed too, in the first tenth, so that what is measured has been through it. After each round,
once all is at rest, actors, placement groups, processes and open files are counted.

The dispatcher's process is renewed after so many drivers. It is measured as one over all its
processes, each with its beginning; and how far one grew in between has a goal of its own.

Ten minutes show a gross leak; two hours are the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "crash"), str(HERE.parents[1] / "benchmarks")]

import kills  # noqa: E402
from common import Goal, Report  # noqa: E402
from readings import (  # noqa: E402
    OF_RAY,
    RENEWED,
    ROLES,
    Growth,
    Rest,
    Sampler,
    draw,
    growth_of,
    tooth_of,
    turns_of,
)

from aiforge.state import runs  # noqa: E402

ROUND_SECONDS = 600
REST_SECONDS = 120
STREAM_SECONDS = 5.0
STRIKE_SECONDS = 15.0
"""A run is struck within so long after its start, or has ended by then."""

GROWTH_GOAL = 6.0
"""MiB an hour: 1 GiB in a week; the lower end of the interval is held against it."""

TOOTH_GOAL = 16.0
"""MiB by which a process that is renewed may grow in between."""

PATHS = (
    "/health", "/status", "/jobs", "/jobs?status=completed&limit=10", "/datasets",
    "/data-sources", "/models", "/missions", "/artifacts", "/audit?limit=20",
)  # fmt: skip
FATES = ("alone", "cancel", "alone", "kill driver", "alone", "kill worker")


class Client(threading.Thread):
    """Requests at a rate: reads of everything, a key made and revoked, a stream now and then."""

    def __init__(self, url: str, per_second: float) -> None:
        super().__init__(daemon=True)
        self._url, self._pause = url, 1 / per_second
        self._over = threading.Event()
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        number = 0
        with httpx.Client(base_url=self._url, timeout=40, trust_env=False) as api:
            while not self._over.wait(self._pause):
                number += 1
                try:
                    self._ask(api, number)
                except (httpx.HTTPError, ValueError) as error:
                    self.outcomes[type(error).__name__] += 1

    def _ask(self, api: httpx.Client, number: int) -> None:
        if number % 10 == 0:
            self._make_and_revoke(api)
        elif number % 50 == 1:
            self._listen(api)
        else:
            self._count(api.get(PATHS[number % len(PATHS)]))

    def _make_and_revoke(self, api: httpx.Client) -> None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        made = api.post("/keys", json={"name": "soak", "scopes": ["jobs:read"]}, headers=headers)
        self._count(made)
        if made.status_code == 201:
            self._count(api.delete(f"/keys/{made.json()['id']}"))

    def _listen(self, api: httpx.Client) -> None:
        jobs = api.get("/jobs", params={"limit": 1}).json()
        if not jobs:
            return
        until = time.monotonic() + STREAM_SECONDS
        with (
            contextlib.suppress(httpx.ReadTimeout),
            api.stream("GET", f"/jobs/{jobs[0]['id']}/events", timeout=STREAM_SECONDS) as stream,
        ):
            self._count(stream)
            for _ in stream.iter_raw():
                if time.monotonic() > until:
                    break

    def _count(self, answer: httpx.Response) -> None:
        self.outcomes[f"{answer.status_code // 100}xx"] += 1

    def stop(self) -> None:
        self._over.set()
        self.join(60)


class Rounds:
    """One round of work after another: commit, sync, generate, train, and what becomes of it."""

    def __init__(self, platform: kills.Platform) -> None:
        self._platform = platform
        self._repository = kills.repository(platform.root)
        made = platform.post("/data-sources", {"type": "git", "url": str(self._repository)})
        self._source = made["sourceId"]
        self._ended(made["parsingJobId"])
        self._dice = random.Random(7)
        self.ends: Counter[str] = Counter()

    def round(self, number: int, fate: str) -> None:
        """Carry out one round, whose last run meets its fate."""
        self._commit(number)
        parsing = self._platform.post(f"/data-sources/{self._source}/sync")
        self._settle("sync", parsing["jobId"])
        body = {"name": f"soak-{number}", "sourceIds": [self._source], "maxExamples": 40,
                "raft": kills.RAFT}  # fmt: skip
        dataset = self._platform.post("/datasets/generate", body)["datasetId"]
        build = self._platform.read(kills.run_of, dataset)
        if fate == "kill driver" and number % 2:
            self._strike(build, "ray::Driver")
        self._settle("generate", build)
        training = kills.TRAINING | {"projectName": "soak", "datasetId": dataset}
        job = self._platform.post("/v1/fine-tune", training)["jobId"]
        if fate == "cancel":
            self._running(job)
            with contextlib.suppress(httpx.HTTPError):
                self._platform.api.delete(f"/jobs/{job}")
        elif fate.startswith("kill"):
            self._strike(job, "ray::Driver" if "driver" in fate else "ray::RayTrainWorker")
        self._settle("train", job)

    def _commit(self, number: int) -> None:
        path = self._repository / f"{kills.NAMES[number % len(kills.NAMES)]}.py"
        name = f"added_{number}"
        added = (
            f"\n\ndef {name}(of: int) -> int:\n"
            f'    """Add {number} to what it is given, as {name} always does."""\n'
            f"    return of + {number}\n"
        )
        path.write_text(path.read_text() + added)
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        for arguments in (("add", "-A"), (*who, "commit", "-q", "-m", name)):
            subprocess.run(["git", *arguments], cwd=self._repository, check=True)

    def _running(self, run_id: str) -> None:
        wanted = self._dice.uniform(0, STRIKE_SECONDS)
        self._platform.until(
            lambda: kills.has_lasted(self._platform, run_id, wanted), ROUND_SECONDS
        )

    def _strike(self, run_id: str, title: str) -> None:
        self._platform.until(
            lambda: self._platform.processes(title) or kills.terminal(self._platform, run_id),
            ROUND_SECONDS,
        )
        self._running(run_id)
        kills.kill(self._platform.processes(title))

    def _settle(self, what: str, run_id: str) -> None:
        self.ends[f"{what} {self._ended(run_id).status}"] += 1

    def _ended(self, run_id: str) -> Any:
        found = self._platform.until(lambda: kills.terminal(self._platform, run_id), ROUND_SECONDS)
        if found is None:
            raise SystemExit(f"{run_id} has not ended after {ROUND_SECONDS} s.")
        return found


def rest(platform: kills.Platform, sampler: Sampler) -> Rest | None:
    """Wait until no run is under way and its processes are gone, and count what is there."""
    busy = ("ray::Driver", "ray::RayTrainWorker", "ray::TrainController")
    platform.until(
        lambda: not platform.read(runs.active) and not platform.read(runs.waiting)
        and not any(platform.processes(title) for title in busy),
        REST_SECONDS,
    )  # fmt: skip
    with contextlib.suppress(httpx.HTTPError, KeyError, TypeError):
        return sampler.rest()
    return None


def soak(
    platform: kills.Platform, minutes: float, over: threading.Event
) -> tuple[Sampler, Rounds, Counter[str]]:
    """Keep the platform busy and look at it."""
    rounds, number = Rounds(platform), 0
    begun = time.monotonic()
    struck = False
    sampler = Sampler(platform.settings, every=max(2.0, min(15.0, minutes * 60 / 240)))
    clients = [Client(platform.url, per_second=4) for _ in range(2)]
    for client in clients:
        client.start()
    while time.monotonic() - begun < minutes * 60 and not over.is_set():
        rounds.round(number, FATES[number % len(FATES)])
        found = rest(platform, sampler)
        print(json.dumps({"round": number, "rest": found and asdict(found)}), flush=True)
        number += 1
        if not struck and time.monotonic() - begun > minutes * 6:
            struck = True
            for title in ROLES.values():
                kills.kill(platform.processes(title)[:1])
                platform.until(platform.answers, 120)
    for client in clients:
        client.stop()
    answers: Counter[str] = sum((client.outcomes for client in clients), Counter())
    return sampler, rounds, answers


def judge(sampler: Sampler, rounds: Rounds, answers: Counter[str], leftover: int) -> Report:
    """The figures, those of the platform's own processes held against a goal."""
    report = Report("soak")
    for role in (*ROLES, *OF_RAY):
        growth = growth_of(sampler.samples, role, lambda sample: sample.uss)
        if growth is not None:
            _add_growth(report, growth, own=role in ROLES)
        tooth = tooth_of(sampler.samples, role) if role in RENEWED else None
        if tooth is not None:
            report.add(f"{role}: processes", len(turns_of(sampler.samples, role)), "")
            report.add(f"{role}: largest growth of one process", tooth, "MiB",
                       goal=Goal("<=", TOOTH_GOAL))  # fmt: skip
        files = growth_of(sampler.samples, role, lambda sample: float(sample.files))
        if files is not None:
            report.add(f"{role}: open files gained", files.last - files.first, "files",
                       goal=Goal("<=", 10) if role in ROLES else None)  # fmt: skip
    calm = sampler.rests[len(sampler.rests) // 4 :]
    for name in ("actors", "placement_groups", "processes", "temporary"):
        if len(calm) > 1:
            gained = getattr(calm[-1], name) - min(getattr(one, name) for one in calm[:3])
            # Ray keeps a few idle workers for the next task.
            bound = 4 if name == "processes" else 0
            report.add(f"{name.replace('_', ' ')} gained at rest", gained, "",
                       goal=Goal("<=", bound))  # fmt: skip
    report.add("processes left after the end", leftover, "", goal=Goal("<=", 0))
    for outcome, number in sorted(answers.items()):
        report.add(f"answers {outcome}", number, "")
    for end, number in sorted(rounds.ends.items()):
        report.add(end, number, "runs")
    return report


def _add_growth(report: Report, growth: Growth, *, own: bool) -> None:
    what = f"{growth.role}, {growth.minutes:.0f} min"
    report.add(f"{what}: memory", growth.last, "MiB", peer="at its beginning",
               peer_value=growth.first)  # fmt: skip
    report.add(f"{what}: growth", growth.per_hour, "MiB/h")
    report.add(f"{what}: growth, low end of 95 %", growth.low, "MiB/h",
               goal=Goal("<=", GROWTH_GOAL) if own else None)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a PNG")
    given = parser.parse_args()
    over = threading.Event()
    # Ends the soak after the round that is under way; what was measured is reported.
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    root = Path(tempfile.mkdtemp(prefix="aifs", dir="/tmp"))
    platform = kills.Platform(root)
    try:
        platform.up()
        sampler, rounds, answers = soak(platform, given.minutes, over)
        sampler.stop()
        cluster_processes = platform.processes()
    finally:
        platform.down()
    leftover = sum(process.is_running() for process in cluster_processes)
    report = judge(sampler, rounds, answers, leftover)
    report.finish(given.json)
    if given.json:
        raw = {"samples": [asdict(one) for one in sampler.samples],
               "rests": [asdict(one) for one in sampler.rests]}  # fmt: skip
        given.json.with_suffix(".samples.json").write_text(json.dumps(raw))
    if given.plot:
        draw(sampler.samples, sampler.rests, given.plot)
    shutil.rmtree(root, ignore_errors=True)
    if any(row["ok"] is False for row in report.rows):
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
