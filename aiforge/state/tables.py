"""Imports every module that declares a table, so that ``metadata`` is complete."""

from __future__ import annotations

from aiforge.state import (
    applied,
    artifacts,
    counts,
    datasets,
    events,
    jobs,
    logs,
    metrics,
    models,
    runs,
    sources,
    validations,
)
from aiforge.state.schema import metadata

TABLES = (
    applied.applied,
    artifacts.artifact_resources,
    artifacts.artifacts,
    counts.run_counts,
    datasets.datasets,
    events.events,
    jobs.jobs,
    logs.run_logs,
    metrics.metric_points,
    models.models,
    models.model_changes,
    runs.runs,
    sources.sources,
    validations.validations,
)

__all__ = ["TABLES", "metadata"]
