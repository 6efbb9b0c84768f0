"""Which licence a file stands under: its own SPDX header, else the nearest licence file."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+\-() ]{2,100})")
_FILE = re.compile(r"^(?:un)?licen[cs]e(?:[-._].*)?$|^copying(?:[-._].*)?$", re.IGNORECASE)

# Identifier and the phrases that a licence's text must hold, the more specific first.
_TEXTS = (
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0", ("gnu general public license", "version 3")),
    ("GPL-2.0", ("gnu general public license", "version 2")),
    ("MPL-2.0", ("mozilla public license", "2.0")),
    ("EPL-2.0", ("eclipse public license", "2.0")),
    ("PSF-2.0", ("python software foundation license",)),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("BSD-4-Clause", ("redistribution and use in source", "all advertising materials")),
    ("BSD-3-Clause", ("redistribution and use in source", "neither the name")),
    ("BSD-2-Clause", ("redistribution and use in source",)),
    ("BSL-1.0", ("boost software license",)),
    ("MIT", ("permission is hereby granted, free of charge", "the software is provided")),
    ("ISC", ("permission to use, copy, modify,", "provided that the above copyright")),
    ("0BSD", ("permission to use, copy, modify,", "with or without fee")),
    ("Unlicense", ("free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("Zlib", ("altered source versions must be plainly marked",)),
)


def is_license_file(path: str) -> bool:
    """Whether a file holds, by its name, the licence of its directory."""
    return bool(_FILE.match(path.rpartition("/")[2]))


def license_of_text(text: str) -> str | None:
    """SPDX identifier of a licence's text; ``None`` where it is not a known one."""
    if spdx := _SPDX.search(text[:2000]):
        return spdx[1].strip()
    words = " ".join(text[:20_000].lower().split())
    for identifier, phrases in _TEXTS:
        # The licence's own name stands at its head; others are only mentioned further down.
        if phrases[0] in words[:1500] and all(phrase in words for phrase in phrases[1:]):
            return identifier
    return None


def license_of_file(path: str, text: str, directories: Mapping[str, str]) -> str | None:
    """SPDX expression of a file.

    Args:
        directories: Licence by directory (``""`` is the root), from their licence files.
    """
    if spdx := _SPDX.search(text[:3000]):
        return spdx[1].strip().rstrip("*/- ")
    directory = path.rpartition("/")[0]
    while True:
        if found := directories.get(directory):
            return found
        if not directory:
            return None
        directory = directory.rpartition("/")[0]
