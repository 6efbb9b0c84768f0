"""Gives up this process's own rights, then runs the program; started as a script by Landlock.

Imports nothing of the package, so that it can be run by its path in an isolated interpreter.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import sys
from typing import Any

# https://docs.kernel.org/userspace-api/landlock.html; the numbers are the same on every
# architecture that the package runs on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_QUERY = 1
_PATH_BENEATH = 1
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a directory
_READ_FILE = 1 << 0 | 1 << 2
# Rights that each version of the interface added: of files, of the network, of scopes.
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK_RIGHTS = 0b11
_SCOPES = 0b11

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 4, 24, 38, 1
_CAPABILITY_VERSION = 0x20080522
_CLONE_THREAD = 0x00010000

# Sockets, other processes, kernel objects that outlive a process, and large parts of the kernel
# that no program here needs.
_DENIED = (
    *("socket", "connect", "bind", "io_uring_setup", "ptrace", "process_vm_readv"),
    *("process_vm_writev", "pidfd_open", "pidfd_send_signal", "kill", "tkill", "tgkill"),
    *("rt_sigqueueinfo", "rt_tgsigqueueinfo", "fork", "vfork", "execve", "execveat"),
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "bpf", "perf_event_open"),
    *("keyctl", "add_key", "request_key", "userfaultfd", "shmget", "msgget", "semget", "mq_open"),
    *("setpriority", "sched_setaffinity", "sched_setscheduler", "sched_setattr", "ioprio_set"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "setxattr"),
    *("utimensat", "prlimit64"),
)

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """Version of the kernel's Landlock interface; 0 or less where there is none."""
    return int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_QUERY))


def confine(limits: dict[str, Any], readable: list[str]) -> None:
    """Give up everything but reading below some paths, within limits.

    Raises:
        OSError: The kernel refuses a part; nothing may be run then.
    """
    _set_limits(limits)
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "PR_SET_PDEATHSIG")
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE")
    _drop_capabilities()
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _restrict_files(readable)
    _restrict_calls()


def _set_limits(limits: dict[str, Any]) -> None:
    seconds = math.ceil(limits["seconds"]) + 1
    for name, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (value, value))


def _drop_capabilities() -> None:
    if os.geteuid() == 0:
        for capability in range(64):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(none)), "capset")


def _restrict_files(readable: list[str]) -> None:
    version = landlock_version()
    bits = _FILE_BITS[min(version, 5)]
    attributes = _RulesetAttributes(
        (1 << bits) - 1,
        _NETWORK_RIGHTS if version >= 4 else 0,
        _SCOPES if version >= 6 else 0,
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _check(
        _libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0), "landlock_create_ruleset"
    )
    for path in readable:
        if not os.path.exists(path):
            continue
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = _READ if os.path.isdir(path) else _READ_FILE
        rule = _PathBeneath(allowed, parent)
        _check(
            _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0),
            f"landlock_add_rule {path}",
        )
        os.close(parent)
    null = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
    rule = _PathBeneath(1 << 1 | 1 << 2, null)
    _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0), os.devnull)
    os.close(null)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _restrict_calls() -> None:
    import errno

    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    denied = pyseccomp.ERRNO(errno.EPERM)
    for name in _DENIED:
        try:
            rules.add_rule(denied, name)
        except OSError:
            # Not a call of this architecture.
            continue
    # Threads are clones; the newer call cannot be looked into, so the older one is used instead.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    no_thread = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0)
    rules.add_rule(denied, "clone", no_thread)
    rules.load()


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def main() -> None:
    """Confine this process as its argument says, then run the bootstrap in it."""
    order = json.loads(sys.argv[1])
    confine(order["limits"], order["readable"])
    exec(compile(order["bootstrap"], "<bootstrap>", "exec"), {"__name__": "bootstrap"})  # noqa: S102


if __name__ == "__main__":
    main()
