"""Licences that a dataset must not be made from."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPERATORS = re.compile(r"\s+(?:AND|OR|WITH)\s+|[()]")


def denied_license(expression: str | None, denied: Sequence[str]) -> str | None:
    """The licence of an SPDX expression that is denied; ``None`` where none is.

    A choice (``MIT OR GPL-3.0``) is denied only where each of its sides is. ``GPL-3.0`` on the
    list also means ``GPL-3.0-only`` and ``GPL-3.0-or-later``, ``unknown`` a file without a licence.

    Args:
        expression: As found in a file or its nearest licence; ``None`` where there is none.
    """
    names = {name.lower() for name in denied}
    if not names:
        return None
    sides = re.split(r"\s+OR\s+", (expression or "unknown").strip("() "), flags=re.IGNORECASE)
    found = [_denied(side, names) for side in sides]
    return found[0] if all(found) else None


def _denied(side: str, names: set[str]) -> str | None:
    for part in _OPERATORS.split(side):
        name = part.strip()
        base = re.sub(r"(?:-only|-or-later|\+)$", "", name.lower())
        if name and (name.lower() in names or base in names):
            return name
    return None
