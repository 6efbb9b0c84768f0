"""Generated code in a pod: no user namespaces, as the runtime's seccomp profile has it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

IN_A_POD = """
import errno, json
import pyseccomp as seccomp

allowed = seccomp.SyscallFilter(seccomp.ALLOW)
for name in ("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "bpf", "ptrace"):
    allowed.add_rule(seccomp.ERRNO(errno.EPERM), name)
# clone with any of the flags that make a namespace; libc falls back to it from clone3.
for flag in (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30):
    allowed.add_rule(
        seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag)
    )
allowed.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
allowed.load()

from aiforge.errors import Unavailable
from aiforge.evaluation import sandbox_probe

faults = {finding.name: finding.fault for finding in sandbox_probe.examine()}
try:
    opened = sandbox_probe.open_sandbox().name
except Unavailable as error:
    opened = error.code
print(json.dumps([faults, opened]))
"""


@pytest.mark.timeout(120)
def test_it_runs_confined_otherwise_or_not_at_all() -> None:
    pytest.importorskip("pyseccomp")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_POD], capture_output=True, text=True, check=True
    )
    faults, opened = json.loads(done.stdout)
    assert "namespace" in faults["bubblewrap"]
    (other,) = faults.keys() - {"bubblewrap"}
    assert opened == ("sandbox_unavailable" if faults[other] else other)
