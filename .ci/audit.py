"""Asks the vulnerability service about every pin of constraints.txt.

An exception is a line of audit-exceptions.txt: the advisory's id, the date until which it holds,
and the reason. One whose date is past fails the audit, as an advisory does. Where no service can be
reached nothing is known, and it is said so; in a pipeline set AIFORGE_AUDIT=required to fail then.
"""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = HERE.parent / "constraints.txt"
SERVICE = ("api.osv.dev", 443)


def exceptions(text: str, today: datetime.date) -> list[str]:
    """Ids of the exceptions that hold.

    Raises:
        SystemExit: A line has no id, date and reason, or its date is past.
    """
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(maxsplit=2)
        if len(parts) < 3:
            raise SystemExit(f"audit-exceptions.txt: {line!r} needs an id, a date and a reason")
        if datetime.date.fromisoformat(parts[1]) < today:
            raise SystemExit(f"audit-exceptions.txt: the exception for {parts[0]} has expired")
        found.append(parts[0])
    return found


def main() -> int:
    """Run pip-audit; its exit status."""
    listed = exceptions((HERE / "audit-exceptions.txt").read_text(), datetime.date.today())
    try:
        socket.create_connection(SERVICE, timeout=5).close()
    except OSError as error:
        print(f"Not audited: {SERVICE[0]} cannot be reached ({error}).")
        return 1 if os.environ.get("AIFORGE_AUDIT") == "required" else 0
    command = [sys.executable, "-m", "pip_audit", "-s", "osv", "--no-deps", "--disable-pip"]
    command += ["-r", str(PINS)]
    for advisory in listed:
        command += ["--ignore-vuln", advisory]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
