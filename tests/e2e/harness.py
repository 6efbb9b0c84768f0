"""Runs the command line as a user does."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiforge.settings import Settings

RECIPE = """
project_name: small
source: {type: git, url: .}
dataset:
  max_examples: 60
  raft: {chunk_tokens: 120, context_tokens: 512, distractors: 1, validation_fraction: 0.25}
train:
  base_model: forge-tiny
  epochs: 1
  learning_rate: 0.001
  rank: 8
  batch_size: 2
  gradient_accumulation: 1
  num_workers: 2
  zero_stage: 1
"""


@dataclass(frozen=True)
class Platform:
    """A running platform and the command line that talks to it."""

    home: Path
    port: int
    up: dict[str, Any]
    shown: str = ""
    """What ``aiforge up`` showed on a terminal beside its JSON."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, port=self.port)

    def run(self, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        return aiforge(*arguments, home=self.home, port=self.port, timeout=timeout)


def aiforge(
    *arguments: str, home: Path, port: int, timeout: float = 280, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "aiforge.cli", *arguments],
        env=environment(home, port),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd or home.parent,
        check=False,
    )


def environment(home: Path, port: int) -> dict[str, str]:
    """The variables with which a user runs commands about one platform."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DS_"))
    }
    return kept | {
        "AIFORGE_HOME": str(home),
        "AIFORGE_PORT": str(port),
        "AIFORGE_URL": f"http://127.0.0.1:{port}",
    }


def on_terminal(
    *arguments: str, home: Path, port: int, cwd: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Run a command whose stderr is a terminal; the JSON that it printed, and what was shown."""
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "aiforge.cli", *arguments, "--json"],
        env=environment(home, port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=cwd or home.parent,
    )
    os.close(terminal)
    shown = bytearray()

    def read() -> None:
        # Linux ends a terminal that nobody holds any more with an error.
        with suppress(OSError):
            while piece := os.read(ours, 65536):
                shown.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    printed, _ = process.communicate()
    reader.join()
    os.close(ours)
    text = shown.decode(errors="replace")
    assert process.returncode == 0, text
    return json.loads(printed), text


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Demonstrated:
    """A demo that was carried out on a platform: how, and what it printed as JSON."""

    command: tuple[str, ...]
    story: dict[str, Any]
    shown: str
    """What was shown on a terminal meanwhile."""
