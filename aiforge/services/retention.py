"""Which files of the storage nobody refers to any more, and their removal.

Mark and sweep: what the state refers to is marked, everything else that is older than the policy
says is swept, in units that are of use only as a whole. A unit is looked at again right before it
goes, and goes in a way that a crash leaves either all of it or what is known not to be whole.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiforge.errors import NotFound, Unavailable
from aiforge.schemas.common import Wire
from aiforge.schemas.runs import RunKind
from aiforge.settings import Retention, Settings
from aiforge.state.reader import Reader
from aiforge.state.references import References, references
from aiforge.storage import Storage
from aiforge.training.older_job import newest_checkpoint

HOUR, DAY = 3600.0, 86_400.0
FRESH_SECONDS = 1.0
"""How old the references may be when something is removed."""

_STEP = re.compile(r"step-(\d+)-")
_READERS = {
    "pissa": {RunKind.TRAIN, RunKind.VALIDATE},
    "packed": {RunKind.TRAIN, RunKind.VALIDATE},
    "measured": {RunKind.VALIDATE, RunKind.DRIFT},
    "teacher": {RunKind.GENERATE},
}
"""Who reads which cache: it is left alone while such a run has not ended."""


class Garbage(Wire):
    """Something that may go."""

    kind: str
    path: str
    files: int
    size: int
    age_seconds: float
    """Since the last of its files was written."""

    reason: str


@dataclass
class Unit:
    """Files that are of use only together."""

    kind: str
    owner: str
    """Id or key by which it is referred to."""

    path: str
    files: int = 0
    size: int = 0
    newest: float = 0.0
    """When its last file was written, in seconds of the epoch."""

    def add(self, size: int, at: float) -> None:
        self.files += 1
        self.size += size
        self.newest = max(self.newest, at)


@dataclass
class Sweep:
    """What one look found, and how to remove it.

    Args:
        read: Reads the references anew.
        clock: Seconds of the epoch.
    """

    storage: Storage
    policy: Retention
    read: Callable[[], References]
    clock: Callable[[], float] = time.time
    _references: References = field(default_factory=References)
    _read_at: float = float("-inf")

    def find(self) -> list[Garbage]:
        """Everything that may go now, the largest first."""
        units = list(self._units().values())
        marked = self._marked()
        spare = self._spare_checkpoints(units, marked)
        found = [one for unit in units if (one := self._judge(unit, marked, spare)) is not None]
        return sorted(found, key=lambda one: (-one.size, one.path))

    def remove(self, garbage: Garbage) -> bool:
        """Remove it, unless it is referred to or was written in the meantime; whether it went."""
        units = list(self._units(garbage.path).values())
        marked = self._marked()
        spare = {garbage.path} if garbage.kind == "checkpoint" else set()
        if not units or any(self._judge(unit, marked, spare) is None for unit in units):
            return False
        self.storage.retire(garbage.path)
        return True

    def _marked(self) -> References:
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self._references, self._read_at = self.read(), time.monotonic()
        return self._references

    def _units(self, below: str = "") -> dict[str, Unit]:
        marked = self._marked()
        units: dict[str, Unit] = {}
        for path, size, at in self.storage.entries(below):
            unit = unit_of(path)
            if unit is None:
                continue
            unit = _folded(unit, marked)
            units.setdefault(unit.path, unit).add(size, at)
        return units

    def _judge(self, unit: Unit, marked: References, spare: set[str]) -> Garbage | None:
        age = self.clock() - unit.newest
        reason = _reason(unit, age, marked, self.policy, spare)
        if reason is None or age < self.policy.grace_hours * HOUR:
            return None
        return Garbage(
            kind=unit.kind, path=unit.path, files=unit.files, size=unit.size,
            age_seconds=age, reason=reason,
        )  # fmt: skip

    def _spare_checkpoints(self, units: list[Unit], marked: References) -> set[str]:
        """Checkpoints of ended jobs beyond the newest ones that are kept."""
        by_job: dict[str, list[Unit]] = defaultdict(list)
        for unit in units:
            if unit.kind == "checkpoint" and unit.owner not in marked.busy:
                by_job[unit.owner].append(unit)
        spare: set[str] = set()
        for job, own in by_job.items():
            own.sort(key=lambda unit: (_step(unit.path), unit.newest), reverse=True)
            resumable = self._resumable(job)
            kept = [unit.path for unit in own if unit.path == resumable]
            kept += [unit.path for unit in own if unit.path != resumable]
            spare |= {*kept[self.policy.checkpoints :]}
        return spare

    def _resumable(self, job_id: str) -> str | None:
        try:
            return newest_checkpoint(self.storage, job_id)
        except (NotFound, ValueError, AttributeError):
            return None


def unit_of(path: str) -> Unit | None:
    """The unit that a file belongs to; ``None`` for what the platform did not put there."""
    parts = path.split("/")
    for depth, part in enumerate(parts):
        if part.startswith(".") and part.endswith(".partial"):
            return Unit("temporary", part, "/".join(parts[: depth + 1]))
    match parts:
        case ["sources", _, "snapshots", _, _, *_]:
            return Unit("snapshot", "/".join(parts[:4]), "/".join(parts[:4]))
        case ["sources", source, "chunks" | "pairs", _, _, *_]:
            return Unit("blocks", source, "/".join(parts[:4]))
        case ["datasets", dataset, "build", _, *_]:
            return Unit("build", dataset, "/".join(parts[:3]))
        case ["runs", job, name, _, *_] if _STEP.match(name):
            return Unit("checkpoint", job, "/".join(parts[:3]))
        case ["cache", name, key, _, *_]:
            return Unit(name, key, "/".join(parts[:3]))
        case ["artifacts", _, digest]:
            return Unit("artifact", digest, path)
        case [("sources" | "datasets" | "runs" | "jobs" | "exports" | "work") as room, name, _, *_]:
            return Unit(room.removesuffix("s"), name, f"{room}/{name}")
    return None


def _folded(unit: Unit, marked: References) -> Unit:
    """The whole that a part goes with, where nothing of the whole is wanted."""
    room, owner = unit.path.split("/")[:2]
    parts = ("snapshot", "blocks", "build")
    if unit.kind in parts and owner not in marked.ids and not _has_snapshot(owner, marked):
        return Unit(room.removesuffix("s"), owner, f"{room}/{owner}")
    return unit


def _has_snapshot(source_id: str, marked: References) -> bool:
    return any(path.split("/")[1] == source_id for path in marked.snapshots)


def _reason(
    unit: Unit, age: float, marked: References, policy: Retention, spare: set[str]
) -> str | None:
    """Why a unit may go once it is old enough, or ``None``."""
    owner = unit.owner
    if unit.kind == "temporary":
        return "a write that never ended"
    if unit.kind == "work":
        run = owner.removeprefix("aiforge-")
        return None if run in marked.open_runs else "work of a run that has ended"
    if unit.kind in _READERS:
        return _cache_reason(unit, age, marked, policy)
    if unit.path.split("/")[1] in marked.busy:
        return None
    match unit.kind:
        case "snapshot":
            return None if unit.path in marked.snapshots else "no source, dataset or mission has it"
        case "blocks":
            if owner not in marked.ids:
                return "its source is deleted"
            return _older(age, policy.cache_days, "used by no build")
        case "build":
            return None if owner in marked.building else "the build has ended"
        case "checkpoint":
            return "beyond the newest that are kept of an ended job" if unit.path in spare else None
        case "artifact":
            return None if owner in marked.contents else "no artifact has this content"
        case "run":
            # Ray Train's own records stay as long as a checkpoint is left beside them.
            return None
        case "source":
            wanted = owner in marked.ids or _has_snapshot(owner, marked)
            return None if wanted else "its source is deleted"
        case "dataset" | "job" | "export":
            return None if owner in marked.ids else f"no living {unit.kind} has it"
    return None


def _cache_reason(unit: Unit, age: float, marked: References, policy: Retention) -> str | None:
    if marked.open_kinds & _READERS[unit.kind]:
        return None
    days = policy.teacher_days if unit.kind == "teacher" else policy.cache_days
    return _older(age, days, "made again when it is needed")


def _older(age: float, days: float | None, what: str) -> str | None:
    if days is None or age < days * DAY:
        return None
    return f"written more than {days:g} days ago, {what}"


def _step(path: str) -> int:
    found = _STEP.match(path.rpartition("/")[2])
    return int(found.group(1)) if found else -1


def collect(sweep: Sweep, found: list[Garbage]) -> Iterator[Garbage]:
    """Remove what was found; gives each thing that went."""
    for garbage in found:
        if sweep.remove(garbage):
            yield garbage


@contextmanager
def opened(settings: Settings) -> Iterator[Sweep]:
    """A sweep of the settings' storage by the settings' state, which may be in use.

    Raises:
        Unavailable: The state does not answer, or was never opened by this version; the storage
            does not answer, or may not be changed (``storage_unavailable``).
    """
    reader = Reader(settings.resolved_database_url)
    try:
        yield Sweep(
            Storage(settings.resolved_storage_uri),
            settings.retention,
            lambda: reader.run(references, (), {}),
        )
    except OSError as error:
        raise Unavailable(
            f"{settings.resolved_storage_uri} does not answer ({error}); what went is gone, and "
            "the rest goes at the next call.",
            code="storage_unavailable",
        ) from error
    finally:
        reader.close()
