"""Addresses: what may be read from, and what is refused before anything is opened."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repositories import repository

from aiforge import addresses
from aiforge.errors import AIForgeError, Failure, InvalidInput
from aiforge.sources import remote
from aiforge.sources.remote import check_branch, git_directory, parse_remote, resolve_host


@pytest.mark.parametrize(
    ("url", "protocol", "host", "port"),
    [
        ("https://github.com/a/b.git", "https", "github.com", 443),
        ("https://example.org:8443/a/b", "https", "example.org", 8443),
        ("ssh://git@example.org:2222/a/b", "ssh", "example.org", 2222),
        ("git@github.com:a/b.git", "ssh", "github.com", 22),
        ("example.org:a/b.git", "ssh", "example.org", 22),
    ],
)
def test_accepts_addresses(url: str, protocol: str, host: str, port: int) -> None:
    found = parse_remote(url, [])
    assert (found.protocol, found.address, found.host, found.port) == (protocol, url, host, port)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "url_invalid"),
        ("--upload-pack=touch /tmp/x", "url_invalid"),
        ("-oProxyCommand=x", "url_invalid"),
        ("ext::sh -c id", "url_invalid"),
        ("ext::id", "url_not_allowed"),
        ("fd::7", "url_not_allowed"),
        ("http://example.org/a", "url_not_allowed"),
        ("git://example.org/a", "url_not_allowed"),
        ("ftp://example.org/a", "url_not_allowed"),
        ("https://user:secret@example.org/a", "url_has_credentials"),
        ("https://token@example.org/a", "url_has_credentials"),
        ("ssh://git:secret@example.org/a", "url_has_credentials"),
        ("ssh://-oProxyCommand=x/a", "url_invalid"),
        ("-oProxyCommand=x:a", "url_invalid"),
        ("git@-oProxyCommand=x:a", "url_invalid"),
        ("git@example.org:-x", "url_invalid"),
        ("https://example.org", "url_invalid"),
        ("https://example.org:99999/a", "url_invalid"),
        ("https://exa mple.org/a", "url_invalid"),
        ("https://example.org/a\nb", "url_invalid"),
        ("file://elsewhere/tmp/a", "url_invalid"),
        ("relative/path", "url_invalid"),
        ("~/repo", "url_invalid"),
        ("/etc", "path_not_allowed"),
        ("file:///etc", "path_not_allowed"),
    ],
)
def test_refuses_addresses(url: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_remote(url, [tmp_path])
    assert refused.value.code == code
    assert refused.value.detail["field"] == "url"
    assert "\n" not in refused.value.message
    assert "secret" not in refused.value.message


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_refused_by_the_rules(text: str) -> None:
    try:
        found = parse_remote(text, [Path("/nonexistent")])
    except InvalidInput:
        return
    assert found.protocol in ("https", "ssh")
    assert not found.address.startswith("-")
    assert "::" not in found.address.partition("/")[0]


def test_paths_must_lie_below_a_root(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    assert parse_remote(str(inside), [inside]).address == str(inside)
    assert parse_remote(f"file://{inside}", [inside]).protocol == "file"
    for path in (outside, inside / "link", inside / ".." / "out"):
        with pytest.raises(InvalidInput, match="AIFORGE_SOURCE_ROOTS") as refused:
            parse_remote(str(path), [inside])
        assert refused.value.code == "path_not_allowed"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fc00::1", "::"),
        *("::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "ff02::1"),
    ],
)
def test_hosts_with_private_addresses_are_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve_to(monkeypatch, ["93.184.216.34", address])
    with pytest.raises(InvalidInput, match="not public") as refused:
        resolve_host(parse_remote("https://rebind.example/a", []))
    assert refused.value.code == "url_not_allowed"


def test_public_hosts_are_resolved_once_and_named_hosts_are_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _resolve_to(monkeypatch, ["93.184.216.34", "2606:2800:220:1::1"])
    public = parse_remote("https://example.org/a", [])
    assert resolve_host(public) == ["93.184.216.34", "2606:2800:220:1::1"]
    _resolve_to(monkeypatch, ["10.0.0.1"])
    internal = parse_remote("https://git.internal/a", [], allowed_hosts=["git.internal"])
    assert resolve_host(internal) == ["10.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f000001", "localhost"])
def test_loopback_in_any_notation_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AIForgeError) as refused:
        resolve_host(parse_remote(f"https://{host}/a", []))
    assert refused.value.code in ("url_not_allowed", "source_unreachable")


def test_unknown_host_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fail)
    monkeypatch.setattr(remote, "is_proxied", lambda: False)
    with pytest.raises(Failure, match=r"no\.such\.host") as failed:
        resolve_host(parse_remote("https://no.such.host/a", []))
    assert failed.value.code == "source_unreachable"


@pytest.mark.parametrize("name", ["main", "feature/x", "release-1.0", "ünïcode", "a.b", "v1@x"])
def test_accepts_branches(name: str) -> None:
    assert check_branch(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b"),
        *("/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a@{1}", "a.", "a\x00", "a\n"),
    ],
)
def test_refuses_branches(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_branch(name)
    assert refused.value.code == "branch_invalid"


def test_repositories_that_point_out_of_the_roots_are_refused(tmp_path: Path) -> None:
    roots = [tmp_path / "in"]
    secret = repository(tmp_path / "out" / "secret", {"key.txt": "secret"})
    honest = repository(roots[0] / "honest", {"a.txt": "text"})
    assert git_directory(honest, roots) == honest / ".git"
    assert git_directory(roots[0], roots) is None

    by_file = roots[0] / "by-file"
    by_file.mkdir()
    (by_file / ".git").write_text(f"gitdir: {secret / '.git'}\n")
    by_link = roots[0] / "by-link"
    by_link.mkdir()
    (by_link / ".git").symlink_to(secret / ".git")
    by_alternates = repository(roots[0] / "by-alternates", {"a.txt": "text"})
    (by_alternates / ".git/objects/info/alternates").write_text(f"{secret / '.git/objects'}\n")
    for path in (by_file, by_link, by_alternates):
        with pytest.raises(InvalidInput) as refused:
            git_directory(path, roots)
        assert refused.value.code == "path_not_allowed"


def _resolve_to(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    def answer(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", answer)
    monkeypatch.setattr(remote, "is_proxied", lambda: False)
