"""The lock says the same as the pins, with a hash for each."""

from __future__ import annotations

import re
from datetime import date
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
REMEDY = "constraints.txt has changed: make lock"


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", text, re.MULTILINE)
    return {name_of(name): version for name, version in found}


def test_the_lock_has_the_pins_with_their_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = pins((ROOT / "constraints.txt").read_text())
    # The same version of torch comes in several builds, each with hashes of its own.
    wanted.pop("torch")

    assert pins(lock) == wanted, REMEDY
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert len(entries) == len(wanted)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


@pytest.fixture
def audit() -> ModuleType:
    spec = util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_exception_to_the_audit_has_a_reason_and_an_end(audit: ModuleType) -> None:
    listed = "# none\n\nPYSEC-2026-1 2026-12-31 only on Windows\n"

    assert audit.exceptions(listed, date(2026, 12, 31)) == ["PYSEC-2026-1"]
    for wrong in ("PYSEC-2026-1", "PYSEC-2026-1 2026-12-31"):
        with pytest.raises(SystemExit, match="needs"):
            audit.exceptions(wrong, date(2026, 1, 1))
    with pytest.raises(SystemExit, match="expired"):
        audit.exceptions(listed, date(2027, 1, 1))


def test_the_exceptions_that_are_listed_hold(audit: ModuleType) -> None:
    audit.exceptions((ROOT / ".ci" / "audit-exceptions.txt").read_text(), date(2026, 1, 1))
