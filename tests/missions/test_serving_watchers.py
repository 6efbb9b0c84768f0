"""Active models on an Ollama server: gone, replaced, or slower than they were."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from served import World, add_dataset, fine_tune_body
from test_overseer import look

from aiforge.schemas.models import ModelActionRequest
from aiforge.services.watchers.serving import BASELINE, RECENT, MissingModel, SlowModel
from aiforge.state import answering, deployments, latencies, models, outcomes, runs
from aiforge.state.answering import Served

DIGEST = "sha256:" + "a" * 64


class Listing(BaseHTTPRequestHandler):
    """As much of an Ollama server as these watchers ask: its models, and short answers."""

    tags: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        found = [{"name": name, "digest": digest} for name, digest in self.tags.items()]
        self._send({"models": found, "version": "0.33.0"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(
            {
                "message": {"content": "one two"},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 9,
                "eval_count": 2,
            }
        )

    def _send(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def ollama(world: World) -> Iterator[str]:
    """Address of the server that the platform deploys to."""
    Listing.tags = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    world.services.settings = world.services.settings.model_copy(update={"ollama_url": url})
    yield url
    server.shutdown()


@pytest.fixture
def served(api: httpx.Client, world: World, make_repository: Any, ollama: str) -> Served:
    """The active model of the project ``p``, deployed to the server."""
    dataset_id = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))
    job_id = api.post("/v1/fine-tune", json=fine_tune_body(dataset_id)).json()["jobId"]
    world.finish(job_id)
    state = world.services.state
    model = state.call_sync(models.of_job, job_id)
    assert model is not None
    for op in (deployments.deploy, deployments.activate):
        reason = ModelActionRequest().reason
        run = state.call_sync(op, model.id, "ann", reason, runs.Resources())
        started = state.call_sync(runs.start, run.id)
        outcome = {"engine": "ollama", "digest": DIGEST, "prompt_tokens": 3, "answer": "Yes."}
        state.call_sync(outcomes.complete, run.id, started.attempt, outcome)
    found = state.call_sync(answering.served, model.id)
    Listing.tags = {found.latest: DIGEST, found.tag: DIGEST}
    return found


def test_a_model_that_is_where_it_was_deployed_raises_nothing(world: World, served: Served) -> None:
    assert look(world, MissingModel()) == []


@pytest.mark.parametrize("digest", [None, "sha256:" + "b" * 64])
def test_a_model_that_is_gone_or_replaced_is_to_be_deployed_again(
    world: World, served: Served, digest: str | None
) -> None:
    Listing.tags = {} if digest is None else {served.latest: digest}

    (mission,) = look(world, MissingModel())

    assert (mission.type, mission.priority) == ("alert", "high")
    assert mission.recommended_action.type == "deploy_model"
    assert mission.recommended_action.parameters == {"modelId": served.model.id}
    Listing.tags = {served.latest: DIGEST}
    assert look(world, MissingModel()) == []


def test_a_server_that_is_away_says_nothing_of_its_models(world: World, served: Served) -> None:
    world.services.settings = world.services.settings.model_copy(
        update={"ollama_url": "http://127.0.0.1:9"}
    )

    assert look(world, MissingModel()) == []


def add_samples(world: World, served: Served, *milliseconds: float) -> None:
    for one in milliseconds:
        world.services.state.call_sync(latencies.add, served.model.id, one, 0.0)


def test_a_model_that_became_slow_raises_an_alert_with_its_curve(
    world: World, served: Served
) -> None:
    add_samples(world, served, *(20.0 + n % 3 for n in range(BASELINE)))
    assert look(world, SlowModel()) == []

    add_samples(world, served, *(90.0 + n % 5 for n in range(RECENT)))
    (mission,) = look(world, SlowModel())

    assert mission.evidence["ratio"] == pytest.approx(4.4, abs=0.3)
    assert mission.recommended_action.type == "acknowledge"
    assert [link.type for link in mission.artifacts] == ["chart"]


def test_a_look_takes_one_sample_and_not_another_right_after(world: World, served: Served) -> None:
    look(world, SlowModel())
    look(world, SlowModel())

    samples = world.services.state.call_sync(latencies.of_model, served.model.id)
    assert len(samples) == 1
    assert samples[0].milliseconds > 0
