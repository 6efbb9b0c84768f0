"""What a training job has to know of a base model, remembered while its files are what they were.

Reading and judging them takes a fraction of a millisecond to a tenth of a second, and does not
belong on an event loop; looking whether they are still the same does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiforge.export.architectures import require_exportable
from aiforge.export.vocabulary import require_exportable_tokenizer
from aiforge.modeling import bases
from aiforge.modeling.bases import FORGE_TINY, BaseModel
from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.linears import Shape
from aiforge.settings import Settings

MOST = 64

Stamp = tuple[int, int, int, int] | None
"""Device, inode, size and modification time of what a path leads to; ``None`` for nothing."""


@dataclass(frozen=True)
class KnownBase:
    """A base model that can be trained and exported.

    ``shape`` is absent where its configuration does not tell its dimensions; ``context_length``
    is in tokens.
    """

    base: BaseModel
    shape: Shape | None
    context_length: int


@dataclass(frozen=True)
class _Remembered:
    known: KnownBase
    stamps: dict[str, Stamp]


_memory: dict[tuple[str, tuple[Path, ...]], _Remembered] = {}


def remembered(name: str, settings: Settings) -> KnownBase | None:
    """What ``look_up`` found, where no file has changed since; opens none."""
    found = _memory.get((name, tuple(settings.model_roots)))
    if found is None or any(_stamp(path) != then for path, then in found.stamps.items()):
        return None
    return found.known


def look_up(name: str, settings: Settings) -> KnownBase:
    """Find a base model and judge it; models on a hub are asked for each time.

    Raises:
        InvalidInput: It is unknown, or could not be exported; the message says what to do.
    """
    stamps = {path: _stamp(path) for path in _places(name, settings)}
    base = bases.resolve_base_model(name, settings)
    if base.is_local:
        stamps |= {str(file): _stamp(str(file)) for file in _files(base)}
    config = bases.read_config(base)
    # What could never be deployed is not trained either.
    require_exportable(config)
    if base.is_local:
        require_exportable_tokenizer(bases.tokenizer_json(base))
    shape = Shape.of(config) if config.get("hidden_size") else None
    known = KnownBase(base, shape, bases.context_length(base))
    if base.is_local:
        while len(_memory) >= MOST:
            _memory.pop(next(iter(_memory)), None)
        _memory[name, tuple(settings.model_roots)] = _Remembered(known, stamps)
    return known


def _places(name: str, settings: Settings) -> Iterator[str]:
    """Where a directory of that name could be: one that appears or moves is another model."""
    if name == FORGE_TINY:
        return
    entry = read_catalog().find(name)
    for root in settings.model_roots:
        for candidate in (name, entry.hub_id if entry else name):
            yield os.path.join(root.expanduser(), candidate)


def _files(base: BaseModel) -> list[Path]:
    directory = Path(base.location)
    return [directory / "config.json", bases.tokenizer_file(base), *bases.weight_files(base)]


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
