"""The API as it runs in production, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from served import World, local_client

from aiforge.services.tokens import Tokens

SECRET = "f3Zk1qPz8Xw0Vb7Tn5Lm2Rj9Yh6Gd4Sc-unit-tests-only"

MakeToken = Callable[..., str]


@pytest.fixture
def production(world: World) -> World:
    """The world, with authentication and without limits that a test could run into."""
    changed = world.services.settings.model_copy(
        update={
            "env": "production",
            "jwt_secret": SecretStr(SECRET),
            "rate_limit_reads": 100_000,
            "rate_limit_writes": 100_000,
            "rate_limit_uploads": 100_000,
        }
    )
    world.services.settings = changed
    return world


@pytest.fixture
def token(production: World) -> MakeToken:
    """Makes a token of the platform that holds these scopes."""

    def make(*scopes: str, projects: list[str] | None = None, subject: str = "alice") -> str:
        lifetime = timedelta(minutes=5)
        return Tokens(production.services.settings).mint(subject, list(scopes), lifetime, projects)

    return make


@pytest.fixture
def front(production: World, app: FastAPI) -> Iterator[httpx.Client]:
    """HTTP to the application as production runs it."""
    with local_client(app) as client:
        yield client


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.fixture
def admin(token: MakeToken) -> dict[str, str]:
    """Headers of someone who may do everything."""
    return bearer(token("admin"))


@pytest.fixture
def private_file(tmp_path: Path) -> Callable[[str, int], Path]:
    """Makes a file with a content and a mode."""

    def make(content: str, mode: int = 0o600) -> Path:
        path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        path.write_text(content)
        path.chmod(mode)
        return path

    return make
