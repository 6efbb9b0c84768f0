"""Which addresses a repository may be read from, and how they are checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from aiforge.addresses import check_literal, is_proxied, parse_address, resolve
from aiforge.errors import Failure, InvalidInput

Protocol = Literal["https", "ssh", "file"]

_HELPER = re.compile(r"^[\w.+-]+::")
_SCP = re.compile(r"^(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^/].*|/[^/].*)\Z")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_BRANCH = re.compile(
    r"^(?![-/.])(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])\Z"
)


@dataclass(frozen=True)
class Remote:
    """A repository's address after its check: ``address`` may be handed to git."""

    protocol: Protocol
    address: str
    host: str = ""
    port: int = 0
    trusted: bool = False
    """The operator named the host, so that private addresses are accepted."""


def parse_remote(
    url: str, allowed_roots: Sequence[Path], allowed_hosts: Collection[str] = ()
) -> Remote:
    """Check the form of a repository's address, without any network access.

    Accepted are ``https://host/path``, ``ssh://[user@]host/path``, ``[user@]host:path``,
    ``file:///path`` and an absolute path; the last two below one of ``allowed_roots``.

    Args:
        allowed_hosts: Hosts that may have private addresses.

    Raises:
        InvalidInput: ``url_invalid``, ``url_not_allowed``, ``url_has_credentials`` or
            ``path_not_allowed``.
    """
    if not url or not url.isprintable() or " " in url or url.startswith("-"):
        raise _invalid(url, "it is empty, starts with a dash or holds spaces")
    if _HELPER.match(url):
        raise _refused(url, "transport helpers")
    if "://" not in url:
        scp = _SCP.match(url)
        return _scp(url, scp, allowed_hosts) if scp else _local(url, allowed_roots)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _invalid(url, str(error)) from error
    if parts.scheme == "file":
        if host not in ("", "localhost"):
            raise _invalid(url, "a file URL names no host")
        return _local(unquote(parts.path), allowed_roots)
    if parts.scheme not in ("https", "ssh"):
        raise _refused(url, f"{parts.scheme}:// addresses")
    if parts.password is not None or (parts.scheme == "https" and parts.username is not None):
        raise InvalidInput(
            "The URL holds credentials, which would be stored and shown. Leave them out; for a "
            "private repository the operator binds a token to its host (AIFORGE_GIT_TOKENS) or "
            "gives an ssh key (AIFORGE_GIT_SSH_KEY).",
            code="url_has_credentials",
            field="url",
        )
    _check_host(url, host, parts.username)
    if not parts.path.strip("/") or parts.path.startswith("/-"):
        raise _invalid(url, "it names no repository")
    default = 443 if parts.scheme == "https" else 22
    protocol: Protocol = "https" if parts.scheme == "https" else "ssh"
    return Remote(protocol, url, host, port or default, host in allowed_hosts)


def check_branch(branch: str) -> str:
    """A branch's name as ``git check-ref-format`` would accept it.

    Raises:
        InvalidInput: ``branch_invalid``.
    """
    if not _BRANCH.match(branch):
        raise InvalidInput(
            f"{branch!r} is no valid name of a branch.", code="branch_invalid", field="branch"
        )
    return branch


def resolve_host(remote: Remote) -> list[str]:
    """Addresses of a remote's host, each checked to be public.

    The connection must be pinned to what is returned, or a second look-up could give
    another answer. Behind a proxy the list is empty: there the proxy resolves.

    Raises:
        Failure: ``source_unreachable`` where the host is unknown.
        InvalidInput: ``url_not_allowed`` where one of its addresses is not public.
    """
    if not remote.trusted:
        check_literal(remote.host)
    if remote.protocol == "https" and is_proxied():
        return []
    try:
        return resolve(remote.host, remote.port, trusted=remote.trusted)
    except Failure as error:
        raise Failure(error.message, code="source_unreachable") from error


def allowed_path(path: Path, allowed_roots: Sequence[Path]) -> Path:
    """A path with its symbolic links resolved, if that lies below an allowed root.

    Raises:
        InvalidInput: ``path_not_allowed``.
    """
    resolved = path.resolve()
    for root in allowed_roots:
        if resolved.is_relative_to(root.expanduser().resolve()):
            return resolved
    raise InvalidInput(
        f"{path} lies outside the directories that sources may be read from. "
        "Add its parent to AIFORGE_SOURCE_ROOTS (a JSON list of directories).",
        code="path_not_allowed",
        field="url",
    )


def git_directory(path: Path, allowed_roots: Sequence[Path]) -> Path | None:
    """The git directory of a working tree or bare repository; ``None`` where there is none.

    A hostile repository could point out of the allowed roots by its ``.git`` file, by links
    or by alternates, so that each of these is followed and checked.

    Raises:
        InvalidInput: ``path_not_allowed``.
    """
    dot_git = path / ".git"
    if dot_git.is_file() and not dot_git.is_symlink():
        first = dot_git.read_text(errors="replace")[:4096].strip()
        directory = path / first.removeprefix("gitdir:").strip()
    else:
        directory = dot_git if dot_git.exists() else path
    if not (directory / "HEAD").is_file():
        return None
    directory = allowed_path(directory, allowed_roots)
    common = directory / "commondir"
    shared = (
        directory / common.read_text(errors="replace").strip() if common.is_file() else directory
    )
    if not (shared / "objects").is_dir():
        return None
    _check_objects(allowed_path(shared / "objects", allowed_roots), allowed_roots, depth=0)
    return directory


def _check_objects(objects: Path, allowed_roots: Sequence[Path], depth: int) -> None:
    alternates = objects / "info" / "alternates"
    if depth > 5 or not alternates.is_file():
        return
    for line in alternates.read_text(errors="replace").splitlines():
        if line and not line.startswith("#"):
            _check_objects(allowed_path(objects / line, allowed_roots), allowed_roots, depth + 1)


def _local(path: str, allowed_roots: Sequence[Path]) -> Remote:
    if not path.startswith("/"):
        raise _invalid(path, "it is neither a URL nor an absolute path")
    resolved = allowed_path(Path(path), allowed_roots)
    return Remote("file", str(resolved))


def _scp(url: str, match: re.Match[str], allowed_hosts: Collection[str]) -> Remote:
    host = match["host"]
    _check_host(url, host, match["user"])
    if match["path"].lstrip("/").startswith("-"):
        raise _invalid(url, "it names no repository")
    return Remote("ssh", url, host, 22, host in allowed_hosts)


def _check_host(url: str, host: str, user: str | None) -> None:
    if not (_NAME.match(host) or parse_address(host)) or not (user is None or _NAME.match(user)):
        raise _invalid(url, "its host or user is malformed")


def _invalid(url: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{url!r} is no address of a repository: {reason}. Give https://host/path, "
        "ssh://user@host/path or an absolute path.",
        code="url_invalid",
        field="url",
    )


def _refused(url: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{url!r} is refused: {what} are not supported. Use https://, ssh:// or an absolute path.",
        code="url_not_allowed",
        field="url",
    )
