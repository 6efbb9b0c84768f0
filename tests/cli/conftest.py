"""The server that these tests talk to, and commands that are run against it."""

from collections.abc import Callable

import pytest
from deployed import double, gguf, ollama_url, platform  # noqa: F401
from served import (  # noqa: F401
    api,
    app,
    empty_database,
    forge,
    live,
    only_app,
    server,
    settings,
    world,
)
from typer.testing import CliRunner, Result

from aiforge.cli.main import app as commands


@pytest.fixture
def run(server: str) -> Callable[..., Result]:  # noqa: F811
    """Run a command against the server."""

    def invoke(*arguments: str, **environment: str) -> Result:
        variables = {"AIFORGE_URL": server, "COLUMNS": "200"} | environment
        return CliRunner().invoke(commands, arguments, env=variables)

    return invoke
