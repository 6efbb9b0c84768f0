"""Backup, restore, restart and gc as whoever runs a platform types them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from served import World, add_source
from typer.testing import CliRunner, Result

from aiforge.cli.main import app as commands
from aiforge.runtime import cluster, environments
from aiforge.runtime.cluster import ClusterInfo
from aiforge.settings import Settings
from aiforge.state import sources
from aiforge.state.store import Store
from aiforge.storage import latest_snapshot, snapshot_dir


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def test_a_state_is_backed_up_and_restored_elsewhere(
    world: World, api: object, make_repository: object, tmp_path: Path
) -> None:
    source_id = add_source(api, world, make_repository({"a.py": "x = 1\n"}))  # type: ignore[arg-type,operator]
    file, other = tmp_path / "state.backup", tmp_path / "other"

    made = run("backup", str(file), "--home", str(world.services.settings.home), "--json")
    restored = run("restore", str(file), "--home", str(other), "--json")
    again = run("restore", str(file), "--home", str(other))

    assert made.exit_code == restored.exit_code == 0, made.output + restored.output
    assert json.loads(made.stdout) == json.loads(restored.stdout)
    store = Store(Settings(home=other).resolved_database_url)
    assert [one.id for one in store.run(sources.page, (9, 0)).items] == [source_id]
    store.close()
    assert again.exit_code == 1
    assert "--replace" in again.stderr
    assert run("restore", str(file), "--home", str(other), "--replace").exit_code == 0


def test_a_running_platform_is_not_restored_under_its_feet(world: World, tmp_path: Path) -> None:
    settings = world.services.settings
    file = tmp_path / "state.backup"
    assert run("backup", str(file), "--home", str(settings.home)).exit_code == 0
    with running(settings):
        refused = run("restore", str(file), "--home", str(settings.home), "--replace")

    assert refused.exit_code == 1
    assert "aiforge down" in refused.stderr


def test_a_platform_is_restarted_with_the_database_of_its_start_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.services.settings
    missing = run("restart", "--home", str(settings.home))
    with running(settings, **environments.of_settings(settings)):
        monkeypatch.setenv("AIFORGE_DATABASE_URL", "sqlite:////other/state.db")
        refused = run("restart", "--home", str(settings.home))

    assert missing.exit_code == refused.exit_code == 1
    assert "aiforge up" in missing.stderr
    assert "AIFORGE_DATABASE_URL" in refused.stderr
    assert "AIFORGE_PORT" not in refused.stderr


@contextmanager
def running(settings: Settings, **environment: str) -> Iterator[None]:
    """A process that looks like the head of the home's cluster."""
    own = {cluster.CLUSTER_ID: "c1"} | environment
    head = subprocess.Popen(["sleep", "60"], env=os.environ | own)
    names = [name for name in ClusterInfo.model_fields if name not in ("pid", "metrics_port")]
    info = ClusterInfo(**dict.fromkeys(names, "c1"), pid=head.pid, metrics_port=1)
    cluster.info_file(settings).write_text(info.model_dump_json())
    try:
        yield
    finally:
        head.kill()
        head.wait()


def test_garbage_is_shown_first_and_removed_when_asked_to(
    world: World, api: object, make_repository: object
) -> None:
    source_id = add_source(api, world, make_repository({"a.py": "x = 1\n"}))  # type: ignore[arg-type,operator]
    storage, home = world.services.storage, str(world.services.settings.home)
    wanted = latest_snapshot(source_id)
    gone, fresh = snapshot_dir(source_id, "gone"), snapshot_dir(source_id, "fresh")
    for path in (wanted, f"{gone}/manifest.json", f"{fresh}/manifest.json"):
        storage.write_bytes(path, b"12345")
    for path in (wanted, f"{gone}/manifest.json"):
        os.utime(storage.full(path), (1e9, 1e9))

    shown = json.loads(run("gc", "--home", home, "--json").stdout)
    there = storage.exists(gone)
    table = run("gc", "--home", home)
    deleted = json.loads(run("gc", "--home", home, "--delete", "--json").stdout)

    assert [item["path"] for item in shown["items"]] == [gone]
    assert (shown["deleted"], shown["size"], there) == (False, 5, True)
    assert "--delete" in table.output
    assert deleted["deleted"]
    assert [item["path"] for item in deleted["items"]] == [gone]
    assert [storage.exists(path) for path in (wanted, gone, fresh)] == [True, False, True]
    assert json.loads(run("gc", "--home", home, "--json").stdout)["items"] == []


def test_garbage_of_a_storage_that_is_away_is_an_error_in_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    # Nothing listens there.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIFORGE_STORAGE_URI", "s3://forge/away")
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    done = run("gc", "--home", str(world.services.settings.home))

    assert done.exit_code == 1
    assert done.stderr.startswith("error: s3://forge/away does not answer")


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_without_a_state_or_a_file_the_line_says_so(command: str, tmp_path: Path) -> None:
    done = run(command, str(tmp_path / "none.backup"), "--home", str(tmp_path / "home"))

    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
