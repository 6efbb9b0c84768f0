"""Imports every module that declares a table, so that ``metadata`` is complete."""

from __future__ import annotations

from aiforge.state import (
    applied,
    artifacts,
    audit,
    counts,
    datasets,
    deliveries,
    events,
    exports,
    jobs,
    keys,
    latencies,
    leases,
    locks,
    logs,
    metrics,
    mission_policies,
    missions,
    models,
    projects,
    runs,
    sources,
    validations,
    webhooks,
)
from aiforge.state.schema import metadata

TABLES = (
    applied.applied,
    artifacts.artifact_resources,
    artifacts.artifacts,
    audit.audit,
    counts.run_counts,
    datasets.datasets,
    deliveries.deliveries,
    events.events,
    exports.exports,
    jobs.jobs,
    latencies.latency_samples,
    keys.keys,
    leases.leases,
    locks.locks,
    logs.run_logs,
    metrics.metric_points,
    mission_policies.mission_policies,
    missions.missions,
    models.models,
    models.model_changes,
    projects.resource_projects,
    runs.runs,
    sources.sources,
    validations.validations,
    webhooks.webhooks,
)

__all__ = ["TABLES", "metadata"]
