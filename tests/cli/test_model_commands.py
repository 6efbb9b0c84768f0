"""``aiforge model`` and ``aiforge chat`` against the real API and a server's double."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

import pytest
from deployed import PROJECT, Platform
from rich.console import Console
from served import serve
from typer.testing import CliRunner, Result

from aiforge.cli.demo import Demo, read_recipe
from aiforge.cli.main import app as commands
from aiforge.client import AIForge
from aiforge.storage import dataset_dir

Run = Callable[..., Result]


@pytest.fixture
def run(platform: Platform) -> Iterator[Run]:
    """Run a command against the platform."""
    server = serve(platform.api.app)  # type: ignore[attr-defined]
    url = next(server)

    def invoke(*arguments: str, input: str | None = None) -> Result:
        variables = {"AIFORGE_URL": url, "COLUMNS": "200"}
        return CliRunner().invoke(commands, arguments, env=variables, input=input)

    invoke.url = url  # type: ignore[attr-defined]
    yield invoke
    next(server, None)


def test_a_model_from_the_list_to_its_answers_and_back(run: Run, platform: Platform) -> None:
    first, second = platform.train(), platform.train()
    for model_id in (first, second):
        platform.export(model_id)
        deployed = run("model", "deploy", model_id, "--reason", "try it")
        assert deployed.exit_code == 0, deployed.output
        assert f"aiforge model activate {model_id}" in deployed.output
        activated = run("model", "activate", model_id)
        assert activated.exit_code == 0, activated.output

    listed = json.loads(run("model", "list", "--json").stdout)
    shown = run("model", "show", second)
    asked = run("chat", PROJECT, "Hello?", "--max-tokens", "8", "--temperature", "0")
    again = run("chat", PROJECT, "--max-tokens", "8", "--temperature", "0", input="Hello?\n")
    back = run("model", "rollback", second, "--reason", "worse", "--json")
    deleted = run("model", "delete", second)

    assert [model["status"] for model in listed] == ["active", "ready"]
    for fact in (second, "abc", "deployed by local: try it", "activated by local"):
        assert fact in shown.stdout
    assert asked.exit_code == 0, asked.output
    assert asked.stdout.strip()
    assert asked.stdout == again.stdout
    assert json.loads(back.stdout)["id"] == first
    assert json.loads(run("model", "active", "--json").stdout)["id"] == first
    assert f"{second}: Deleted" in deleted.stdout


def test_the_demo_ends_with_a_model_that_answers_beside_its_base(
    run: Run, platform: Platform
) -> None:
    model_id = platform.train("demo")
    model = platform.api.get(f"/models/{model_id}").json()
    preview = [{"instruction": "What does `add` do?", "input": "", "output": "It adds."}]
    path = f"{dataset_dir(model['datasetId'])}/preview.json"
    platform.services.storage.write_json(path, preview)
    platform.export(model_id, "q8_0")
    recipe = read_recipe()
    console = Console(file=io.StringIO())

    with AIForge(run.url) as forge:  # type: ignore[attr-defined]
        demo = Demo(forge, recipe, "repository", fresh=False, console=console)
        deployed = demo._model(forge.jobs.get(model["jobId"]))
        sample = demo._sample(deployed)
        answer = demo._answer(deployed, sample)
        again = demo._model(forge.jobs.get(model["jobId"]))

    assert (deployed.id, str(deployed.status), deployed.engine) == (model_id, "active", "ollama")
    assert sample is not None
    assert sample.question == "What does `add` do?"
    # The file holds the base model, so all of them say the same.
    assert answer == sample.tuned == sample.base != ""
    assert again.activated_at == deployed.activated_at


def test_refusals_are_one_line(run: Run, platform: Platform) -> None:
    model_id = platform.train()

    for arguments in (
        ("model", "activate", model_id),
        ("model", "rollback", model_id),
        ("model", "show", "model-none"),
        ("model", "active"),
        ("chat", PROJECT, "Hello?"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 1, arguments
        assert refused.stderr.startswith("error: "), arguments
        assert len(refused.stderr.strip().splitlines()) == 1
