"""Which files are held out for validation, decided before any of them is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from aiforge.languages import has_grammar


@dataclass(frozen=True)
class FileKey:
    """A file as far as the split needs it."""

    source_id: str
    path: str
    blob: str
    language: str | None


def validation_files(
    files: Iterable[FileKey], fraction: float, seed: int
) -> frozenset[tuple[str, str]]:
    """The files, by source and path, that only validation may see.

    Each content is held out or not by a hash of its blob and the seed, so that copies of a file
    stay together and a file keeps its side when others come and go. Only files that questions can
    be asked of are held out; of two or more contents at least one is and one is not, unless
    ``fraction`` is 0.
    """
    ranked = {
        file: _rank(file.blob, seed)
        for file in files
        if has_grammar(file.language) or file.language == "rst"
    }
    blobs = {file.blob for file in ranked}
    if fraction <= 0 or len(blobs) < 2:
        return frozenset()
    lowest, highest = min(ranked.values()), max(ranked.values())
    threshold = max(fraction, lowest)
    return frozenset(
        (file.source_id, file.path)
        for file, rank in ranked.items()
        if rank <= threshold and rank != highest
    )


def _rank(blob: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\0{blob}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
