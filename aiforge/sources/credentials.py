"""What opens private repositories: chosen by the operator, by host, and never part of an address.

Tokens are named by the environment variable that holds them. Git gets them from a program that
only its own user can run, so that they stand in no command line, no URL and no configuration.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiforge.errors import Failure
from aiforge.sources.remote import Remote, resolve_host

_SSH_OPTIONS = (
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ConnectTimeout=30",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "StrictHostKeyChecking=yes",
)
# What GitHub, GitLab and Bitbucket accept beside a token where no user is named.
_ANY_USER = "x-access-token"
_ASKPASS = """\
#!/bin/sh
case "$1" in Username*) cat {directory}/user ;; *) cat {directory}/token ;; esac
"""


@dataclass(frozen=True)
class Credentials:
    """Keys and tokens of the operator.

    Args:
        ssh_key: Private key for ``ssh`` remotes; the platform user's own keys when absent.
        known_hosts: File of host keys; the platform user's own when absent.
        tokens: By host (or ``host:port``) the environment variable of a token for ``https``; its
            value is the token, or ``user:token``.
    """

    ssh_key: Path | None = None
    known_hosts: Path | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)

    def ssh_command(self, remote: Remote) -> str:
        """The command by which git connects: to the checked address, and to a known host only.

        Raises:
            Failure: ``ssh_key_unreadable``.
        """
        options = [*_SSH_OPTIONS, f"HostKeyAlias={remote.host}"]
        options.append(f"HostName={resolve_host(remote)[0]}")
        if self.ssh_key:
            options += [f"IdentityFile={_quoted(self.ssh_key)}", "IdentitiesOnly=yes"]
        if self.known_hosts:
            options.append(f"UserKnownHostsFile={_quoted(self.known_hosts)}")
        parts = ["ssh", "-F", "/dev/null"]
        parts += [part for option in options for part in ("-o", option)]
        return shlex.join(parts)

    def askpass(self, remote: Remote, home: Path) -> str | None:
        """A program that tells git the token of a host; ``None`` where there is none for it.

        Args:
            home: A directory that nobody else may read.

        Raises:
            Failure: ``token_missing``.
        """
        if remote.protocol != "https":
            return None
        name = self.tokens.get(f"{remote.host}:{remote.port}") or self.tokens.get(remote.host)
        if name is None:
            return None
        value = os.environ.get(name, "").strip()
        if not value:
            raise Failure(
                f"The environment variable {name}, which holds the token for {remote.host}, is not "
                "set where the platform runs. Set it and start the platform again.",
                code="token_missing",
            )
        user, colon, token = value.partition(":")
        program = home / "askpass"
        for path, content, mode in (
            (home / "user", f"{user if colon else _ANY_USER}\n", 0o600),
            (home / "token", f"{token if colon else value}\n", 0o600),
            (program, _ASKPASS.format(directory=shlex.quote(str(home))), 0o700),
        ):
            path.touch(mode=0o600)
            path.write_text(content)
            path.chmod(mode)
        return str(program)


def _quoted(path: Path) -> str:
    """A path as a value of an option of ssh.

    Raises:
        Failure: ``ssh_key_unreadable``.
    """
    path = path.expanduser()
    if not os.access(path, os.R_OK) or '"' in str(path) or not str(path).isprintable():
        raise Failure(
            f"{path} cannot be read by the platform's user. Correct AIFORGE_GIT_SSH_KEY or "
            "AIFORGE_GIT_KNOWN_HOSTS.",
            code="ssh_key_unreadable",
        )
    return '"' + str(path).replace("%", "%%") + '"'
