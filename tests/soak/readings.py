"""What a soak measures: memory, open files, processes, actors; and whether any of it grows."""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import psutil

from aiforge.runtime import cluster
from aiforge.settings import Settings

ROLES = {
    "state": "ray::StateActor",
    "dispatcher": "ray::DispatcherActor",
    "api": "ray::ServeReplica:aiforge:Api",
}
"""The platform's own lasting processes, by the beginning of their titles."""

RENEWED = ("dispatcher",)
"""Roles whose process ends itself now and then, so that Ray starts it anew: what is measured is
the role, through all its processes, and how much the largest of them was above its beginning."""

OF_RAY = {
    "gcs": "gcs_server",
    "raylet": "raylet/raylet",
    "serve controller": "ray::ServeController",
}
WARM_FRACTION = 0.25
"""Of a process's samples; so long it still fills caches and pools."""

WARM_SECONDS = 120.0
"""As much of a process that is renewed, of which more than once may be seen."""


@dataclass
class Sample:
    """One look at one process."""

    at: float
    role: str
    pid: int
    uss: float
    """Unique set size in MiB: what would be free if the process ended."""

    files: int
    threads: int


@dataclass
class Rest:
    """What is there while no run is under way."""

    at: float
    processes: int
    actors: int
    placement_groups: int
    files: int
    """Open files of all processes together."""

    temporary: int
    """Directories of work that a run should have removed."""


@dataclass
class Sampler:
    """Looks at the processes of a running platform at an interval, in a thread."""

    settings: Settings
    every: float = 15.0
    samples: list[Sample] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._over.wait(self.every):
            self.look()

    def look(self) -> None:
        """Take a sample of every lasting process."""
        for process in self._processes():
            with contextlib.suppress(psutil.Error, OSError):
                role = role_of(" ".join(process.cmdline()))
                if role is not None:
                    uss = process.memory_full_info().uss / 2**20
                    self.samples.append(
                        Sample(
                            self._elapsed(),
                            role,
                            process.pid,
                            uss,
                            process.num_fds(),
                            process.num_threads(),
                        )
                    )

    def rest(self) -> Rest:
        """Count what is there; call it while nothing runs."""
        files, processes = 0, self._processes()
        for process in processes:
            with contextlib.suppress(psutil.Error, OSError):
                files += process.num_fds()
        work = self.settings.home / "storage" / "work"
        rest = Rest(
            at=self._elapsed(),
            processes=len(processes),
            actors=len(alive(self.settings, "actors", "DEAD")),
            placement_groups=len(alive(self.settings, "placement_groups", "REMOVED")),
            files=files,
            temporary=len(list(work.iterdir())) if work.is_dir() else 0,
        )
        self.rests.append(rest)
        return rest

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _processes(self) -> list[psutil.Process]:
        info = cluster.read_info(self.settings)
        return cluster.processes_of(info.id, info.pid) if info else []


def role_of(title: str) -> str | None:
    """Which lasting process has this title."""
    for role, beginning in ROLES.items():
        if title.startswith(beginning):
            return role
    return next((role for role, part in OF_RAY.items() if part in title[:200]), None)


def alive(settings: Settings, kind: str, gone: str) -> list[dict[str, Any]]:
    """Actors or placement groups that are not gone, as the cluster's dashboard tells."""
    info = cluster.read_info(settings)
    assert info is not None
    token = (settings.home / "ray_auth_token").read_text().strip()
    answer = httpx.get(
        f"{info.dashboard}/api/v0/{kind}",
        params={"limit": 1000, "filter_keys": "state", "filter_predicates": "!=",
                "filter_values": gone},
        headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False,
    )  # fmt: skip
    found = answer.raise_for_status().json()["data"]["result"]["result"]
    return [one for one in found if one["state"] != gone]


@dataclass(frozen=True)
class Growth:
    """How a figure of one process changed once it was warm."""

    role: str
    pid: int
    minutes: float
    first: float
    last: float
    per_hour: float
    low: float
    high: float
    """95 % interval of ``per_hour``, from blocks of neighbouring samples."""


def growth_of(
    samples: Sequence[Sample], role: str, figure: Callable[[Sample], float]
) -> Growth | None:
    """The slope of the longest-lived process of a role; ``None`` where there is too little.

    Of a role whose process is renewed, the slope of all of them, one after another: a sawtooth,
    which is level where each process is left as large as the one before it.
    """
    turns = turns_of(samples, role)
    if not turns:
        return None
    longest = max(turns, key=lambda own: own[-1].at - own[0].at)
    if role in RENEWED:
        longest = [sample for own in turns for sample in own]
    warm = longest[int(len(longest) * WARM_FRACTION) :]
    points = [(sample.at / 3600, figure(sample)) for sample in warm]
    if len(points) < 12:
        return None
    low, high = _interval(points)
    tenth = max(1, len(points) // 10)
    return Growth(
        role=role,
        pid=longest[-1].pid,
        minutes=(points[-1][0] - points[0][0]) * 60,
        first=statistics.median(value for _, value in points[:tenth]),
        last=statistics.median(value for _, value in points[-tenth:]),
        per_hour=theil_sen(points),
        low=low,
        high=high,
    )


def turns_of(samples: Sequence[Sample], role: str) -> list[list[Sample]]:
    """The samples of each process of a role, one process after another."""
    by_pid: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.role == role:
            by_pid.setdefault(sample.pid, []).append(sample)
    return list(by_pid.values())


def tooth_of(samples: Sequence[Sample], role: str) -> float | None:
    """MiB by which a process of a renewed role was above its warm beginning at the most."""
    rises = []
    for own in turns_of(samples, role):
        warm = [sample for sample in own if sample.at - own[0].at >= WARM_SECONDS]
        if warm:
            rises.append(max(sample.uss for sample in warm) - warm[0].uss)
    return max(rises, default=None)


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """Median of the slopes between all pairs: a few outliers do not move it."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes)


def _interval(points: Sequence[tuple[float, float]], rounds: int = 200) -> tuple[float, float]:
    """Neighbouring samples resemble each other, so whole blocks of residuals are drawn anew."""
    thin = list(points[:: max(1, len(points) // 100)])
    slope = theil_sen(thin)
    fitted = [slope * x for x, _ in thin]
    residuals = [y - f for (_, y), f in zip(thin, fitted, strict=True)]
    size, dice, found = max(2, len(thin) // 10), random.Random(1), []
    for _ in range(rounds):
        drawn: list[float] = []
        while len(drawn) < len(thin):
            at = dice.randrange(len(thin) - size + 1)
            drawn += residuals[at : at + size]
        again = [(x, f + r) for (x, _), f, r in zip(thin, fitted, drawn, strict=False)]
        found.append(theil_sen(again))
    cut = sorted(found)
    return cut[int(rounds * 0.025)], cut[int(rounds * 0.975)]


def draw(samples: Sequence[Sample], rests: Sequence[Rest], path: Path) -> None:
    """Memory of every lasting process over time, and below it what is left at rest, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(9, 7), dpi=120, layout="constrained", sharex=True
    )
    for role in dict.fromkeys(sample.role for sample in samples):
        mine = [sample for sample in samples if sample.role == role]
        times, sizes = [one.at / 60 for one in mine], [one.uss for one in mine]
        above.plot(times, sizes, marker=".", markersize=2, linewidth=1, label=role)
    above.set(ylabel="USS (MiB)", title="Memory of the lasting processes")
    above.legend(frameon=False, ncols=3)
    times = [rest.at / 60 for rest in rests]
    for name in ("processes", "actors", "placement_groups", "temporary"):
        below.plot(times, [getattr(rest, name) for rest in rests], marker=".", label=name)
    below.set(xlabel="minutes", ylabel="number", title="At rest, between two rounds of work")
    below.legend(frameon=False, ncols=4)
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.set_ylim(bottom=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
