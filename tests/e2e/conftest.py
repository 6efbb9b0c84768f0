"""A platform of its own, started and stopped as a user does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from harness import RECIPE, Demonstrated, Platform, aiforge, free_port, on_terminal
from prose import NOUNS, module

from aiforge.runtime import cluster
from aiforge.settings import Settings


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for all end-to-end tests."""
    home, port = tmp_path_factory.mktemp("platform") / "home", free_port()
    # A development platform may read below the directory that it is started in.
    below = tmp_path_factory.getbasetemp()
    up, shown = on_terminal("up", "--detach", home=home, port=port, cwd=below)
    yield Platform(home, port, up, shown)
    info = cluster.read_info(Settings(home=home, port=port))
    assert info is not None
    assert aiforge("down", home=home, port=port).returncode == 0
    assert cluster.processes_of(info.id, info.pid) == []


@pytest.fixture(scope="session")
def demonstrated(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Demonstrated:
    """A small demo on that platform: source, dataset, job, validation, export, model."""
    root = tmp_path_factory.mktemp("demo")
    repository, recipe = root / "repository", root / "recipe.yaml"
    files = {f"pkg/{name}.py": module(name, functions=5) for name in NOUNS}
    files["README.md"] = "# Small\n\n## Use\n\nCall `count_apples` with a list of apples.\n"
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *command], cwd=repository, check=True)
    recipe.write_text(RECIPE)
    asked = ("demo", "--recipe", str(recipe), "--source", str(repository))
    story, shown = on_terminal(*asked, home=platform.home, port=platform.port)
    return Demonstrated((*asked, "--json"), story, shown)
