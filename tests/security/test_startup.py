"""A start that would leave the platform open is refused, with the remedy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from front import SECRET
from pydantic import SecretStr

from aiforge.errors import InvalidInput, Unavailable
from aiforge.runtime import environments, platform
from aiforge.services.startup import require_safe
from aiforge.settings import Settings

MakeFile = Callable[..., Path]


def settings_of(**changes: Any) -> Settings:
    return Settings(**{"jwt_secret": SecretStr(SECRET), "env": "production"} | changes)


@pytest.mark.parametrize(
    ("changes", "code", "remedy"),
    [
        ({"env": "development", "host": "0.0.0.0"}, "public_without_authentication", "AIFORGE_ENV"),
        ({"env": "development", "host": "::"}, "public_without_authentication", "127.0.0.1"),
        ({"env": "development", "host": "ai.example"}, "public_without_authentication", "HOST"),
        ({"jwt_secret": None}, "signing_key_missing", "openssl rand"),
        ({"env": "staging", "jwt_secret": None}, "signing_key_missing", "JWT_SECRET_FILE"),
        ({"jwt_secret": SecretStr("x" * 31)}, "signing_key_short", "32"),
        ({"jwt_secret": SecretStr("")}, "signing_key_missing", "openssl rand"),
        ({"jwt_secret": SecretStr("abab" * 16)}, "signing_key_weak", "openssl rand"),
        ({"jwks_url": "http://keys.example/jwks"}, "jwks_url_insecure", "https"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url_insecure", "https"),
    ],
)
def test_unsafe_settings_stop_the_start(changes: dict[str, Any], code: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        require_safe(settings_of(**changes))

    assert refusal.value.code == code
    assert remedy in refusal.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"env": "development", "jwt_secret": None},
        {"env": "development", "jwt_secret": None, "host": "::1"},
        {"host": "0.0.0.0"},
        {"jwt_secret": None, "jwks_url": "https://keys.example/jwks"},
        {"jwt_secret": None, "jwks_url": "http://127.0.0.1:9/jwks"},
    ],
)
def test_safe_settings_start(changes: dict[str, Any]) -> None:
    require_safe(settings_of(**changes))


def test_secrets_come_from_files_that_only_their_owner_can_read(private_file: MakeFile) -> None:
    key, url = private_file(f"{SECRET}\n"), private_file("postgresql://u:p@db/x\n", 0o640)
    settings = settings_of(jwt_secret=None, jwt_secret_file=key, database_url_file=url)

    require_safe(settings)

    assert settings.signing_key == SECRET.encode()
    assert settings.resolved_database_url == "postgresql://u:p@db/x"


@pytest.mark.parametrize("field", ["jwt_secret_file", "database_url_file"])
@pytest.mark.parametrize("mode", [0o644, 0o602, 0o777])
def test_a_secret_that_everyone_can_open_stops_the_start(
    private_file: MakeFile, field: str, mode: int
) -> None:
    path = private_file(SECRET, mode)

    with pytest.raises(InvalidInput, match=f"chmod 600 {path}") as refusal:
        require_safe(settings_of(**{field: path}))
    assert refusal.value.code == "secret_exposed"


def test_a_secret_that_is_not_there_stops_the_start(private_file: MakeFile, tmp_path: Path) -> None:
    for path, code in (
        (private_file("  \n"), "secret_missing"),
        (tmp_path / "none", "secret_unreadable"),
        (tmp_path, "secret_unreadable"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            require_safe(settings_of(jwt_secret_file=path))
        assert refusal.value.code == code


def test_the_platform_checks_before_it_starts_anything(tmp_path: Path) -> None:
    settings = Settings(env="development", host="0.0.0.0", home=tmp_path / "home")

    with pytest.raises(InvalidInput, match="asks nobody for a credential"):
        platform.start(settings, lambda _: pytest.fail("built"), lambda _: None)

    assert not settings.home.exists()


def test_a_signing_key_shows_in_no_text_and_no_command_line() -> None:
    settings = settings_of(database_url="postgresql://u:hunter2-pass@db/x")

    assert SECRET not in f"{settings} {settings!r} {settings.model_dump(mode='json')}"
    assert "hunter2-pass" not in f"{settings} {settings!r}"
    # Processes of the cluster need it; their environment is readable by their own user alone.
    assert environments.of_settings(settings)["AIFORGE_JWT_SECRET"] == SECRET


@pytest.mark.parametrize("value", ["local", ""])
def test_production_may_start_a_cluster_of_its_own(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIFORGE_ENV", "production")
    assert Settings().ray_address == "auto"
    monkeypatch.setenv("AIFORGE_RAY_ADDRESS", value)
    assert Settings().ray_address is None


def test_a_cluster_that_is_not_there_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "CONNECT_SECONDS", 0.1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        settings = Settings(home=tmp_path, ray_address=address)
        with pytest.raises(Unavailable, match="AIFORGE_RAY_ADDRESS=local") as refused:
            platform.connect(settings)
    assert refused.value.code == "ray_not_reachable"
