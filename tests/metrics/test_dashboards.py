"""Every expression runs on a real Prometheus and has data; Grafana's files and alerts hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from scenes import free_port, lived_in

from aiforge.errors import Conflict, Unavailable
from aiforge.runtime import dashboards, metrics, prometheus
from aiforge.runtime.catalog import CATALOG
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage

CLUSTERS = Path(__file__).parents[2] / "clusters"
PANELS = [panel for dashboard in dashboards.DASHBOARDS for panel in dashboard.panels]
RULES = yaml.safe_load((CLUSTERS / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed",
)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus that scraped a platform on which everything has happened once."""
    settings = Settings(home=tmp_path_factory.mktemp("platform") / "home")
    state = LocalState(Store(settings.resolved_database_url))
    lived_in(state, Storage(settings.resolved_storage_uri))
    metrics.serve(settings, state)
    running = prometheus.start(settings, free_port(), scrape_seconds=1)
    deadline = time.monotonic() + 60
    while not prometheus.query(running.url, "aiforge_up"):
        assert time.monotonic() < deadline, "the platform was not scraped"
        time.sleep(0.2)
    yield running.url
    assert prometheus.stop(settings)
    assert prometheus.running(settings) is None
    state.store.close()


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"(?:ray_)?aiforge_\w+", expression))


@needs_prometheus
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_has_data(scraped: str, panel: dashboards.Panel) -> None:
    found = prometheus.query(scraped, panel.query)

    if panel.needs:
        pytest.skip(f"needs a {panel.needs}")
    if any(name.startswith("ray_") for name in names_in(panel.query)):
        pytest.skip("counted in Ray's processes: tests/e2e/test_metrics.py asks for it")
    assert found


def test_names_in_dashboards_and_alerts_are_in_the_table() -> None:
    known = {metric.name for metric in CATALOG}
    used = set().union(*(names_in(panel.query) for panel in PANELS))
    alerted = set().union(*(names_in(rule["expr"]) for rule in RULES))

    assert {name.removesuffix("_bucket") for name in used | alerted} <= known
    # What nobody looks at would not be missed.
    assert known <= {name.removesuffix("_bucket") for name in used}


@needs_prometheus
def test_the_alerts_are_evaluated(scraped: str) -> None:
    for rule in RULES:
        prometheus.query(scraped, rule["expr"])
    groups = httpx.get(f"{scraped}/api/v1/rules").json()["data"]["groups"]

    assert {rule["name"] for group in groups for rule in group["rules"]} == {
        rule["alert"] for rule in RULES
    }


@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=CLUSTERS / "prometheus", capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    config = prometheus.configuration(Settings(home=tmp_path), 5)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))

    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_unit_test_and_a_paragraph_in_the_runbook() -> None:
    book = (CLUSTERS / "RUNBOOK.md").read_text()
    units = yaml.safe_load((CLUSTERS / "prometheus" / "rules.test.yml").read_text())["tests"]
    raised = {
        case["alertname"]
        for unit in units
        for case in unit["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert raised == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert f"## {rule['alert']}\n" in book
        anchor = f"clusters/RUNBOOK.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == anchor


def test_grafana_files_are_made_from_the_dashboards() -> None:
    directory = CLUSTERS / "grafana" / "dashboards"

    assert {path.name: path.read_text() for path in directory.iterdir()} == dashboards.files()
    ids = [json.loads(text)["uid"] for text in dashboards.files().values()]
    assert len(set(ids)) == len(ids)


def test_without_the_program_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="apt-get install prometheus"):
        prometheus.start(Settings(home=tmp_path))


@needs_prometheus
def test_a_taken_port_is_refused(tmp_path: Path, scraped: str) -> None:
    with pytest.raises(Conflict, match="in use"):
        prometheus.start(Settings(home=tmp_path), int(scraped.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0033, "3.3 ms"), (6.2, "6.2 s"), (76.0, "1:16 min")]
)
def test_a_time_is_shown_in_a_unit_that_fits_it(seconds: float, shown: str) -> None:
    from aiforge.cli.metrics import _figure

    assert _figure(seconds, "s") == shown
