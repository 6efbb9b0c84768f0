"""Every metric that the platform exports: the one list that code, table and dashboards share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Origin = Literal["platform", "ray"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: As Prometheus stores it; a histogram without ``_bucket`` and its like.
        help: One line for people.
        labels: Names of the labels; none of them takes ids or names that users choose.
        origin: ``platform``: the dispatcher's endpoint, from the database. ``ray``: counted in a
            process of the cluster and exported by Ray.
        when: What has to have happened before there is a value.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    origin: Origin = "platform"
    when: str = ""


LATENCY_BOUNDARIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]
"""Seconds."""

_REQUEST = ("route", "method", "status")
_TRAINED = "a job trained"
_BUILT = "a dataset was built"
_TAUGHT = "a dataset asked a teacher"
_EXPORTED = "an export completed"

CATALOG: tuple[Metric, ...] = (
    Metric(
        "ray_aiforge_requests_total",
        "counter",
        "Requests by template of the route, method and class of the status; 429 is a class of "
        "its own: what the limiter refused.",
        _REQUEST,
        "ray",
        "a request was answered",
    ),
    Metric(
        "ray_aiforge_request_seconds",
        "histogram",
        "Seconds from a request's first byte to its answer's last; event streams are left out.",
        ("route", "method"),
        "ray",
        "a request was answered",
    ),
    Metric("aiforge_up", "gauge", "1 where the state answered the last look, else 0."),
    Metric("aiforge_runs", "gauge", "Runs that have not ended.", ("kind", "status")),
    Metric("aiforge_runs_ended_total", "counter", "Runs that ended.", ("kind", "outcome")),
    Metric("aiforge_queue_oldest_seconds", "gauge", "How long the oldest queued run waits."),
    Metric(
        "aiforge_run_duration_seconds",
        "gauge",
        "Median of the last 200 completed runs, from start to end.",
        ("kind",),
        when="a run completed",
    ),
    Metric(
        "aiforge_run_wait_seconds",
        "gauge",
        "Median of the last 200 completed runs, from queue to the start of the last attempt.",
        ("kind",),
        when="a run completed",
    ),
    Metric("aiforge_training_step", "gauge", "Step of the newest job.", when=_TRAINED),
    Metric("aiforge_training_loss", "gauge", "Its loss, nats per token.", when=_TRAINED),
    Metric("aiforge_training_grad_norm", "gauge", "Its gradient's norm.", when=_TRAINED),
    Metric(
        "aiforge_training_tokens_per_second",
        "gauge",
        "Its tokens per second, padding left out.",
        when=_TRAINED,
    ),
    Metric(
        "aiforge_training_memory_bytes",
        "gauge",
        "Largest peak of any of its workers, of its GPU or else of its process.",
        when=_TRAINED,
    ),
    Metric(
        "aiforge_training_mfu_ratio",
        "gauge",
        "Share of the devices' peak FLOPs that the model's own take.",
        when="a job trained on a GPU whose peak is known",
    ),
    Metric("aiforge_datasets", "gauge", "Datasets.", ("status",), when=_BUILT),
    Metric(
        "aiforge_dataset_stage_examples",
        "gauge",
        "What entered and left each stage of the newest dataset.",
        ("stage", "direction"),
        when=_BUILT,
    ),
    Metric(
        "aiforge_teacher_requests",
        "gauge",
        "Requests to teachers for the newest 50 datasets; cached ones were not sent.",
        ("source",),
        when=_TAUGHT,
    ),
    Metric("aiforge_teacher_tokens", "gauge", "Tokens of the same.", ("direction",), when=_TAUGHT),
    Metric(
        "aiforge_teacher_cost",
        "gauge",
        "Cost of the same, in the currency of the prices.",
        when="a dataset asked a teacher with prices",
    ),
    Metric("aiforge_exports", "gauge", "Exports.", ("status",), when="an export was asked for"),
    Metric(
        "aiforge_export_checks",
        "gauge",
        "Comparisons of the newest 50 completed exports with what was exported.",
        ("passed",),
        when=_EXPORTED,
    ),
    Metric(
        "aiforge_export_kl_nats",
        "gauge",
        "Mean divergence of the newest export's file; 0 where it is exact.",
        when="an export in GGUF completed",
    ),
    Metric("aiforge_models", "gauge", "Models.", ("status",), when=_TRAINED),
    Metric(
        "aiforge_model_changes_total",
        "counter",
        "Deployments, activations, rollbacks and the like.",
        ("action",),
        when="a model was deployed",
    ),
    Metric(
        "aiforge_missions",
        "gauge",
        "Missions.",
        ("type", "status"),
        when="a mission was proposed",
    ),
    Metric("aiforge_events_total", "counter", "Events in the journal."),
    Metric("aiforge_webhook_deliveries", "gauge", "Deliveries that are kept.", ("status",)),
    Metric("aiforge_webhook_lag_seconds", "gauge", "How long the oldest pending delivery waits."),
    Metric(
        "aiforge_webhook_unread_events",
        "gauge",
        "Events that the slowest active webhook has no deliveries of yet.",
    ),
    Metric(
        "aiforge_state_seconds",
        "gauge",
        "How long the state took at the last look: its writer to answer, the reads of this list.",
        ("operation",),
    ),
    Metric(
        "aiforge_storage_free_bytes",
        "gauge",
        "Free space under the storage.",
        when="the storage is a disk",
    ),
)


def table() -> str:
    """The list as a table in Markdown."""
    lines = ["| metric | type | labels | exported by | what | from when |", "|" + "---|" * 6]
    for metric in CATALOG:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        lines.append(
            f"| `{metric.name}` | {metric.kind} | {labels} | {metric.origin} "
            f"| {metric.help} | {metric.when or 'always'} |"
        )
    return "\n".join(lines) + "\n"
