"""The platform's endpoint: what it says is what is there, and the table names all of it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from scenes import lived_in

from aiforge.api.factory import create_app
from aiforge.runtime import catalog, metrics
from aiforge.runtime.catalog import CATALOG
from aiforge.services.context import Services
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage

TABLE = Path(__file__).parents[2] / "clusters" / "METRICS.md"
GPU_ONLY = {"aiforge_training_mfu_ratio"}

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(port: int) -> Values:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def state(settings: Settings) -> LocalState:
    return LocalState(Store(settings.resolved_database_url))


def test_table_is_the_catalog() -> None:
    assert TABLE.read_text().endswith("\n\n" + catalog.table())


def test_everything_exported_stands_in_the_table_and_the_other_way_round(
    settings: Settings, state: LocalState
) -> None:
    lived_in(state, Storage(settings.resolved_storage_uri))

    found = scrape(metrics.serve(settings, state))

    platform = {metric.name: set(metric.labels) for metric in CATALOG if metric.origin != "ray"}
    assert {name for name, _ in found} == platform.keys() - GPU_ONLY
    assert all({label for label, _ in labels} == platform[name] for name, labels in found)


def test_values_are_those_of_the_state(settings: Settings, state: LocalState) -> None:
    lived_in(state, Storage(settings.resolved_storage_uri))

    found = scrape(metrics.serve(settings, state))

    def of(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    assert of("aiforge_up") == 1
    assert of("aiforge_runs", kind="train", status="queued") == 1
    assert of("aiforge_runs_ended_total", kind="train", outcome="completed") == 1
    assert of("aiforge_runs_ended_total", kind="train", outcome="failed") == 1
    assert of("aiforge_training_loss") == 0.5
    assert of("aiforge_dataset_stage_examples", stage="filters", direction="left") == 7
    assert of("aiforge_teacher_requests", source="sent") == 5
    assert of("aiforge_teacher_cost") == 0.25
    assert of("aiforge_export_kl_nats") == 0.01
    assert of("aiforge_export_checks", passed="true") == 1
    assert of("aiforge_models", status="ready") == 1
    assert of("aiforge_missions", type="alert", status="pending_approval") == 1
    assert of("aiforge_webhook_deliveries", status="pending") > 0
    assert of("aiforge_storage_free_bytes") > 0


def test_metrics_survive_a_restart_and_say_where_they_are(
    settings: Settings, state: LocalState
) -> None:
    lived_in(state, Storage(settings.resolved_storage_uri))
    before = scrape(metrics.serve(settings, state))

    after = LocalState(Store(settings.resolved_database_url))
    port = metrics.serve(settings, after)

    counters = {metric.name for metric in CATALOG if metric.kind == "counter"}
    found = scrape(port)
    assert {key: value for key, value in found.items() if key[0] in counters} == {
        key: value for key, value in before.items() if key[0] in counters
    }
    (target,) = json.loads(metrics.targets_file(settings).read_text())
    assert target["targets"] == [f"127.0.0.1:{port}"]


def test_a_state_that_is_away_is_a_zero_and_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    settings = Settings(home=blocked, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")

    found = scrape(metrics.serve(settings, LocalState(Store(settings.resolved_database_url))))

    assert found["aiforge_up", ()] == 0


def test_requests_are_noted_by_template_and_class(settings: Settings, state: LocalState) -> None:
    noted: list[tuple[str, str, str, float | None]] = []
    services = Services(state, Storage(settings.resolved_storage_uri), settings)
    app = create_app(services, record=lambda *request: noted.append(request))
    client = TestClient(app, base_url="http://localhost")

    client.get("/jobs/job-1")
    client.get("/jobs")
    client.get("/nowhere/at-all")

    assert [request[:3] for request in noted] == [
        ("/jobs/{job_id}", "GET", "4xx"),
        ("/jobs", "GET", "2xx"),
        ("unmatched", "GET", "4xx"),
    ]
    assert all(seconds is not None and 0 < seconds < 60 for *_, seconds in noted)
