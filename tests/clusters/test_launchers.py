"""The files for Ray's cluster launcher are ones that it reads, and say the same as each other."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from aiforge.settings import Settings

CLUSTERS = Path(__file__).parents[2] / "clusters"
CLOUDS = ("aws", "gcp")


@pytest.fixture(params=CLOUDS)
def launcher(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(yaml.safe_load((CLUSTERS / f"{request.param}.yaml").read_text()))


def exported(command: str) -> dict[str, str]:
    """The variables that a start command exports, as its shell would."""
    words = shlex.split(command.split(";")[0])
    assert words[0] == "export"
    return dict(word.split("=", 1) for word in words[1:])


def test_it_follows_rays_schema(launcher: dict[str, Any]) -> None:
    # Ray takes seconds to import, which the collection of other tests need not wait for.
    from ray import autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(launcher, schema)
    # With the launcher's own defaults, as it checks the file itself.
    filled = prepare_config(launcher)
    validate_config(filled)
    assert filled["head_start_ray_commands"] == launcher["head_start_ray_commands"]


def test_gpu_machines_come_from_none_and_jobs_know_of_them(launcher: dict[str, Any]) -> None:
    kinds = launcher["available_node_types"]
    assert launcher["head_node_type"] in kinds
    gpu = kinds["gpu"]
    assert gpu["min_workers"] == 0
    assert gpu["max_workers"] == launcher["max_workers"]
    limits = json.loads(exported(launcher["head_start_ray_commands"][-1])["AIFORGE_CLUSTER_LIMITS"])
    assert limits["GPU"] == gpu["max_workers"] * gpu["resources"]["GPU"]


def test_machines_are_told_what_the_platform_and_ray_know(launcher: dict[str, Any]) -> None:
    from ray.scripts.scripts import start

    head, worker = (launcher[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker"))
    fields = {f"AIFORGE_{name.upper()}" for name in Settings.model_fields}
    known = {option for parameter in start.params for option in parameter.opts}
    for command in (head, worker):
        names = set(re.findall(r"\b(AIFORGE_[A-Z_]+)=", command))
        assert names <= fields
        (line,) = [part for part in command.split(";") if "ray start" in part]
        options = set(re.findall(r"(--[a-z-]+)", line.split("&&")[0]))
        assert options <= known
    for name, value in exported(worker).items():
        assert exported(head)[name] == value, "workers read the same storage"


def test_the_image_is_that_of_kubernetes(launcher: dict[str, Any]) -> None:
    base = yaml.safe_load((CLUSTERS / "kuberay" / "base" / "kustomization.yaml").read_text())
    named = {each["name"]: f"{each['newName']}:{each['newTag']}" for each in base["images"]}
    assert launcher["docker"]["image"] == named["aiforge-cpu"]
    assert launcher["docker"]["worker_image"] == named["aiforge-cuda"]


@pytest.mark.parametrize("name", ["head.sh", "worker.sh", "environment.sh"])
def test_scripts_are_shell(name: str) -> None:
    path = CLUSTERS / "local" / name
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert os.access(path, os.X_OK) == (name != "environment.sh")


def test_a_machine_without_the_token_is_told_how_to_make_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [CLUSTERS / "local" / "worker.sh", "10.0.0.1:6379"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "openssl rand" in done.stderr
