"""The JavaScript client: its types are those of the API, and its own tests against real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from deployed import Platform
from served import BASE_MODEL, World, serve

PACKAGE = Path(__file__).parents[2] / "sdks" / "javascript"
OLDEST_NODE = 18
AWAY = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network|proxy"
)


def node(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=PACKAGE,
        env=os.environ | {"NO_UPDATE_NOTIFIER": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="session")
def package() -> Path:
    """The package with what it needs installed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    version = node("node", "--version").stdout
    if int(version.strip().lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"needs node {OLDEST_NODE} or newer, not {version.strip()}")
    installed, lock = PACKAGE / "node_modules/.package-lock.json", PACKAGE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        options = ("--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0")
        done = node("npm", "ci", *options, "--fetch-timeout=20000")
        if done.returncode and AWAY.search(done.stderr):
            pytest.skip(f"the npm registry is away: {done.stderr.strip().splitlines()[0][:200]}")
        assert done.returncode == 0, done.stderr
    return PACKAGE


@pytest.fixture(scope="session")
def built(package: Path) -> Path:
    done = node("npm", "run", "--silent", "build")
    assert done.returncode == 0, done.stdout + done.stderr
    return package


def test_generated_types_are_those_of_the_api(package: Path) -> None:
    done = node("node", "scripts/types.mjs", "--check")

    assert done.returncode == 0, done.stderr


def test_lock_file_names_no_registry() -> None:
    lock = json.loads((PACKAGE / "package-lock.json").read_text())

    for name, entry in lock["packages"].items():
        place = entry.get("resolved", "https://registry.npmjs.org/")
        assert place.startswith("https://registry.npmjs.org/"), name
        assert name == "" or entry["integrity"], name


def test_transport(built: Path) -> None:
    require_passed(node("node", "--test", "--test-reporter=tap", "test/transport.test.mjs"))


def test_whole_road(
    built: Path,
    server: str,
    world: World,
    make_repository: Callable[[Mapping[str, str]], Path],
) -> None:
    repository = make_repository({"a.py": "x = 1\n"})
    with world.working():
        done = node(
            *("node", "--test", "--test-reporter=tap", "test/server.test.mjs"),
            AIFORGE_TEST_URL=server,
            AIFORGE_TEST_REPOSITORY=str(repository),
            AIFORGE_TEST_BASE_MODEL=BASE_MODEL,
        )
    require_passed(done)


def test_chat(built: Path, platform: Platform) -> None:
    model_id = platform.train("p")
    platform.export(model_id)
    served = serve(platform.api.app)  # type: ignore[attr-defined]
    done = node(
        *("node", "--test", "--test-reporter=tap", "test/chat.test.mjs"),
        AIFORGE_TEST_CHAT_URL=next(served),
        AIFORGE_TEST_MODEL=model_id,
    )
    next(served, None)
    require_passed(done)


def require_passed(done: subprocess.CompletedProcess[str]) -> None:
    """All of its tests have run, and passed."""
    counts = dict(re.findall(r"^# (pass|fail|skipped) (\d+)$", done.stdout, re.MULTILINE))

    assert done.returncode == 0, done.stdout + done.stderr
    assert (counts["fail"], counts["skipped"]) == ("0", "0"), done.stdout
    assert int(counts["pass"]) > 0
