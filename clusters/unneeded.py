"""Print the installed distributions that the platform does not need, one a line.

requirements.lock holds the tools of development as well, since hashes are checked for all or
none; the Dockerfile uninstalls what this prints. Ran in an environment with `aiforge` installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WANTED = ("aiforge[platform,export,quantization]", "pip", "setuptools", "wheel", "packaging")


def needed(wanted: Iterable[str]) -> set[str]:
    """Names of distributions that some requirements need, directly or not."""
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        # What an extra adds is found under the extra, what is always needed under "".
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                texts = distribution(name).requires or []
            except PackageNotFoundError:
                continue
            found = [Requirement(text) for text in texts]
            waiting += [
                part for part in found if not part.marker or part.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in seen}


if __name__ == "__main__":
    keep = needed(WANTED)
    for found in sorted({canonicalize_name(each.metadata["Name"]) for each in distributions()}):
        if found not in keep:
            print(found)
