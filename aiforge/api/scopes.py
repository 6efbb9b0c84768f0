"""What each route asks of a credential: the one table, which a test holds against the routes.

A route that stands in no row is answered to nobody outside development.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from aiforge.schemas.access import Scope


class Bound(Enum):
    """How a route treats credentials that are bound to projects."""

    REFUSED = "refused"
    """It concerns the whole platform."""

    BY_ID = "by id"
    """The resource that its path names must belong to one of the projects."""

    IN_SERVICE = "in service"
    """The service lists and takes only what belongs to the projects."""

    FREE = "free"
    """It tells nothing of any project."""


@dataclass(frozen=True)
class Rule:
    """What a route asks; every credential will do where ``scope`` is ``None``."""

    scope: Scope | None
    bound: Bound = Bound.REFUSED


OPEN = frozenset({"GET /health"})
"""What is answered without a credential."""

_S = Scope
_BY_ID, _IN_SERVICE, _FREE = Bound.BY_ID, Bound.IN_SERVICE, Bound.FREE

RULES: Mapping[str, Rule] = {
    "GET /openapi.json": Rule(None, _FREE),
    "GET /docs": Rule(None, _FREE),
    "GET /docs/{name}": Rule(None, _FREE),
    "GET /status": Rule(_S.SYSTEM_READ),
    "GET /events": Rule(_S.EVENTS_READ),
    "POST /v1/fine-tune": Rule(_S.JOBS_WRITE, _IN_SERVICE),
    "GET /jobs": Rule(_S.JOBS_READ, _IN_SERVICE),
    "GET /jobs/{job_id}": Rule(_S.JOBS_READ, _BY_ID),
    "DELETE /jobs/{job_id}": Rule(_S.JOBS_WRITE, _BY_ID),
    "GET /jobs/{job_id}/metrics": Rule(_S.JOBS_READ, _BY_ID),
    "GET /jobs/{job_id}/logs": Rule(_S.JOBS_READ, _BY_ID),
    "GET /jobs/{job_id}/events": Rule(_S.JOBS_READ, _BY_ID),
    "GET /jobs/{job_id}/validation": Rule(_S.JOBS_READ, _BY_ID),
    "POST /jobs/{job_id}/validation": Rule(_S.JOBS_WRITE, _BY_ID),
    "POST /jobs/{job_id}/export": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "GET /jobs/{job_id}/exports": Rule(_S.JOBS_READ, _BY_ID),
    "GET /jobs/{job_id}/exports/{export_id}": Rule(_S.JOBS_READ, _BY_ID),
    "DELETE /jobs/{job_id}/exports/{export_id}": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "POST /jobs/{job_id}/exports/{export_id}/cancel": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "GET /jobs/{job_id}/exports/{export_id}/file": Rule(_S.JOBS_READ, _BY_ID),
    "GET /jobs/{job_id}/exports/{export_id}/files/{name}": Rule(_S.JOBS_READ, _BY_ID),
    "POST /v1/chat/completions": Rule(_S.CHAT_USE, _IN_SERVICE),
    "GET /v1/models": Rule(_S.CHAT_USE, _IN_SERVICE),
    "GET /models": Rule(_S.MODELS_READ, _IN_SERVICE),
    "GET /models/active": Rule(_S.MODELS_READ, _IN_SERVICE),
    "GET /models/{model_id}/lineage": Rule(_S.MODELS_READ, _BY_ID),
    "GET /models/{model_id}/history": Rule(_S.MODELS_READ, _BY_ID),
    "GET /models/{model_id}": Rule(_S.MODELS_READ, _BY_ID),
    "POST /models/{model_id}/deploy": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "POST /models/{model_id}/activate": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "POST /models/{model_id}/rollback": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "DELETE /models/{model_id}": Rule(_S.MODELS_DEPLOY, _BY_ID),
    "GET /datasets": Rule(_S.DATASETS_READ, _IN_SERVICE),
    "POST /datasets/generate": Rule(_S.DATASETS_WRITE, _IN_SERVICE),
    "GET /datasets/{dataset_id}": Rule(_S.DATASETS_READ, _BY_ID),
    "GET /datasets/{dataset_id}/export": Rule(_S.DATASETS_READ, _BY_ID),
    "POST /datasets/{dataset_id}/cancel": Rule(_S.DATASETS_WRITE, _BY_ID),
    "DELETE /datasets/{dataset_id}": Rule(_S.DATASETS_WRITE, _BY_ID),
    "GET /data-sources": Rule(_S.SOURCES_READ, _IN_SERVICE),
    "POST /data-sources": Rule(_S.SOURCES_WRITE, _IN_SERVICE),
    "GET /data-sources/{source_id}": Rule(_S.SOURCES_READ, _BY_ID),
    "PATCH /data-sources/{source_id}": Rule(_S.SOURCES_WRITE, _BY_ID),
    "GET /data-sources/{source_id}/files": Rule(_S.SOURCES_READ, _BY_ID),
    "POST /data-sources/{source_id}/sync": Rule(_S.SOURCES_WRITE, _BY_ID),
    "DELETE /data-sources/{source_id}": Rule(_S.SOURCES_WRITE, _BY_ID),
    "GET /missions": Rule(_S.MISSIONS_READ, _IN_SERVICE),
    "GET /missions/{mission_id}": Rule(_S.MISSIONS_READ, _BY_ID),
    "POST /missions/{mission_id}/approve": Rule(_S.MISSIONS_APPROVE, _BY_ID),
    "POST /missions/{mission_id}/reject": Rule(_S.MISSIONS_APPROVE, _BY_ID),
    "GET /projects/{project_name}/mission-policy": Rule(_S.MISSIONS_READ, _IN_SERVICE),
    "PUT /projects/{project_name}/mission-policy": Rule(_S.MISSIONS_APPROVE, _IN_SERVICE),
    "GET /projects/{project_name}/track-record": Rule(_S.MISSIONS_READ, _IN_SERVICE),
    "GET /artifacts": Rule(_S.ARTIFACTS_READ, _IN_SERVICE),
    "GET /artifacts/{artifact_id}": Rule(_S.ARTIFACTS_READ, _BY_ID),
    "GET /artifacts/{artifact_id}/content": Rule(_S.ARTIFACTS_READ, _BY_ID),
    "GET /keys": Rule(_S.KEYS_READ),
    "POST /keys": Rule(_S.KEYS_WRITE, _IN_SERVICE),
    "DELETE /keys/{key_id}": Rule(_S.KEYS_WRITE),
    "GET /audit": Rule(_S.AUDIT_READ),
    "GET /webhooks": Rule(_S.WEBHOOKS_READ),
    "POST /webhooks": Rule(_S.WEBHOOKS_WRITE),
    "GET /webhooks/{webhook_id}": Rule(_S.WEBHOOKS_READ),
    "DELETE /webhooks/{webhook_id}": Rule(_S.WEBHOOKS_WRITE),
    "POST /webhooks/{webhook_id}/test": Rule(_S.WEBHOOKS_WRITE),
    "POST /webhooks/{webhook_id}/enable": Rule(_S.WEBHOOKS_WRITE),
    "POST /webhooks/{webhook_id}/rotate": Rule(_S.WEBHOOKS_WRITE),
    "GET /webhooks/{webhook_id}/deliveries": Rule(_S.WEBHOOKS_READ),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Rule(_S.WEBHOOKS_WRITE),
}


@dataclass(frozen=True)
class Match:
    """The row that a request falls under, and the identifier that its path names first."""

    route: str
    rule: Rule
    resource_id: str | None = None


class Table:
    """Finds the row of a request by its method and path."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._methods = sorted({route.partition(" ")[0] for route in rules})
        self._rows: dict[tuple[str, int, str], list[tuple[list[str], Match]]] = {}
        # Rows without identifiers come first, as /models/active is no model.
        for route, rule in sorted(rules.items(), key=lambda row: "{" in row[0]):
            method, _, path = route.partition(" ")
            first, *parts = path.split("/")[1:]
            row = (parts, Match(route, rule))
            self._rows.setdefault((method, len(parts), first), []).append(row)

    def find(self, method: str, path: str) -> Match | None:
        """The row of a request; ``None`` where there is none."""
        root, _, rest = path.partition("/")
        first, *given = rest.split("/")
        if root:
            return None
        for parts, match in self._rows.get((method, len(given), first), ()):
            named = _named(parts, given)
            if named is not None:
                return Match(match.route, match.rule, named) if named else match
        return None

    def knows(self, path: str) -> bool:
        """Whether the path has a row under any method."""
        return any(self.find(method, path) for method in self._methods)


def _named(parts: list[str], given: list[str]) -> str | None:
    """The first identifier in a path that has these parts, or ``""``; ``None`` for another path."""
    named = ""
    for part, text in zip(parts, given, strict=True):
        if part == text:
            continue
        if part[0] != "{" or not text:
            return None
        named = named or text
    return named


TABLE = Table(RULES)
