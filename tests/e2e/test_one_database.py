"""Two platforms that were given the same database.

``pytest -m slow tests/e2e/test_one_database.py``
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from harness import Platform, aiforge, free_port


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_the_second_one_does_not_start_and_the_first_one_goes_on(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIFORGE_DATABASE_URL", platform.settings.resolved_database_url)

    second = aiforge("up", "--detach", home=tmp_path / "second", port=free_port())

    assert second.returncode == 1
    error = second.stderr.strip().splitlines()[-1]
    assert str(platform.home) in error
    assert "AIFORGE_DATABASE_URL" in error
    assert httpx.get(f"{platform.url}/health").json()["status"] != "unhealthy"
    made = platform.run("key", "create", "still", "--scope", "jobs:read")
    assert made.returncode == 0, made.stderr
