"""The dashboards as data: Grafana's files are made from it, and the terminal draws from it.

``python -m aiforge.runtime.dashboards clusters/grafana/dashboards`` writes the files.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Unit = Literal["short", "s", "bytes", "percentunit", "reqps", "none"]
"""Grafana's names of units."""

SCHEMA_VERSION = 39
"""Of Grafana 10.4; newer ones migrate it when they load it."""

COLUMNS = 24
HEIGHT = 8


@dataclass(frozen=True)
class Panel:
    """One picture.

    Args:
        legend: Template of a series' name, as ``{{label}}``.
        needs: What a platform needs for the query to have data; empty where any gives it.
    """

    title: str
    query: str
    unit: Unit = "short"
    legend: str = ""
    needs: Literal["", "gpu"] = ""


@dataclass(frozen=True)
class Dashboard:
    """One page of panels, two in a row."""

    name: str
    title: str
    panels: tuple[Panel, ...]


PLATFORM = Dashboard(
    "platform",
    "AI Forge: Platform",
    (
        Panel("State answers", "aiforge_up", "none"),
        Panel(
            "Requests",
            "sum by (status) (rate(ray_aiforge_requests_total[5m]))",
            "reqps",
            "{{status}}",
        ),
        Panel(
            "Latency, 95th percentile",
            "histogram_quantile(0.95, sum by (le, route) "
            "(rate(ray_aiforge_request_seconds_bucket[5m])))",
            "s",
            "{{route}}",
        ),
        Panel(
            "Refused or failed",
            'sum(rate(ray_aiforge_requests_total{status=~"429|5xx"}[5m])) or vector(0)',
            "reqps",
        ),
        Panel("Open runs", "sum by (status) (aiforge_runs)", "none", "{{status}}"),
        Panel("Oldest queued run", "aiforge_queue_oldest_seconds", "s"),
        Panel(
            "Ended runs",
            "sum by (kind, outcome) (aiforge_runs_ended_total) > 0",
            "none",
            "{{kind}} {{outcome}}",
        ),
        Panel("State", "aiforge_state_seconds", "s", "{{operation}}"),
        Panel("Free under the storage", "aiforge_storage_free_bytes", "bytes"),
        Panel("Events in the journal", "aiforge_events_total", "none"),
    ),
)

TRAINING = Dashboard(
    "training",
    "AI Forge: Training",
    (
        Panel("Loss", "aiforge_training_loss"),
        Panel("Gradient norm", "aiforge_training_grad_norm"),
        Panel("Tokens per second", "aiforge_training_tokens_per_second"),
        Panel("Step", "aiforge_training_step", "none"),
        Panel("Memory, largest peak", "aiforge_training_memory_bytes", "bytes"),
        Panel("Model FLOPs utilisation", "aiforge_training_mfu_ratio", "percentunit", needs="gpu"),
        Panel("Duration, median", "aiforge_run_duration_seconds", "s", "{{kind}}"),
        Panel("Wait, median", "aiforge_run_wait_seconds", "s", "{{kind}}"),
    ),
)

DATASETS = Dashboard(
    "datasets",
    "AI Forge: Datasets",
    (
        Panel("Datasets", "aiforge_datasets", "none", "{{status}}"),
        Panel(
            "Newest dataset, examples by stage",
            "aiforge_dataset_stage_examples",
            "none",
            "{{stage}} {{direction}}",
        ),
        Panel(
            "Yield of each stage",
            'aiforge_dataset_stage_examples{direction="left"} / on(stage) '
            '(aiforge_dataset_stage_examples{direction="entered"} > 0)',
            "percentunit",
            "{{stage}}",
        ),
        Panel("Requests to teachers", "aiforge_teacher_requests", "none", "{{source}}"),
        Panel("Tokens of teachers", "aiforge_teacher_tokens", "short", "{{direction}}"),
        Panel("Cost of teachers", "aiforge_teacher_cost"),
    ),
)

MODELS = Dashboard(
    "models",
    "AI Forge: Models and missions",
    (
        Panel("Models", "aiforge_models", "none", "{{status}}"),
        Panel("Changes of models", "aiforge_model_changes_total", "none", "{{action}}"),
        Panel("Exports", "aiforge_exports", "none", "{{status}}"),
        Panel("Comparisons of exports", "aiforge_export_checks", "none", "passed {{passed}}"),
        Panel("Divergence of the newest export, nats", "aiforge_export_kl_nats"),
        Panel("Missions", "aiforge_missions", "none", "{{type}} {{status}}"),
        Panel("Webhook deliveries", "aiforge_webhook_deliveries", "none", "{{status}}"),
        Panel("Webhook lag", "aiforge_webhook_lag_seconds", "s"),
        Panel("Events without deliveries yet", "aiforge_webhook_unread_events", "none"),
    ),
)

DASHBOARDS = (PLATFORM, TRAINING, DATASETS, MODELS)


def to_grafana(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana loads it from a file."""
    return {
        "uid": f"aiforge-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["aiforge"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "query": "prometheus",
                    "label": "Prometheus",
                }
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    width = COLUMNS // 2
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {
            "x": number % 2 * width,
            "y": number // 2 * HEIGHT,
            "w": width,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": [
            {
                "refId": "A",
                "datasource": source,
                "expr": panel.query,
                "legendFormat": panel.legend or panel.title,
            }
        ],
    }


def files() -> dict[str, str]:
    """Names and contents of Grafana's files."""
    return {
        f"{dashboard.name}.json": json.dumps(to_grafana(dashboard), indent=1) + "\n"
        for dashboard in DASHBOARDS
    }


if __name__ == "__main__":
    for name, content in files().items():
        (Path(sys.argv[1]) / name).write_text(content)
