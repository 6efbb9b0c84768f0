"""The audit trail tells who did what, and nobody can change it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from front import MakeToken, bearer
from served import World
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from aiforge.api import guard
from aiforge.errors import Conflict
from aiforge.schemas.access import Origin
from aiforge.state import audit, engine, events, keys
from aiforge.state.access import LocalState

KEY = {"name": "k", "scopes": ["jobs:read"]}


def entries(front: httpx.Client, admin: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = front.get("/audit", params=query, headers=admin)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_a_change_stands_there_with_who_what_where_and_which_request(
    front: httpx.Client, token: MakeToken, admin: dict[str, str]
) -> None:
    headers = bearer(token("keys:*", "jobs:read", subject="bob")) | {"X-Request-Id": "mine-1"}
    made = front.post("/keys", json=KEY, headers=headers).json()

    (entry,) = entries(front, admin, requestId="mine-1")

    assert entry["principal"] == "token:bob"
    assert entry["principalName"] == "bob"
    assert entry["action"] == "POST /keys"
    assert entry["operation"] == "keys.create"
    assert entry["resourceIds"] == [made["id"]]
    assert entry["address"] == "testclient"
    assert entry["outcome"] == "done"
    assert entries(front, admin, resourceId=made["id"]) == [entry]
    assert entries(front, admin, principal="token:nobody") == []
    assert entries(front, admin, until=entry["at"]) == []
    assert entries(front, admin, since=entry["at"]) == [entry]


def test_a_refusal_stands_there_and_a_read_does_not(
    front: httpx.Client, token: MakeToken, admin: dict[str, str]
) -> None:
    weak = bearer(token("jobs:read", subject="eve"))
    assert front.post("/keys", json=KEY, headers=weak).status_code == 403
    assert front.get("/keys", headers=weak).status_code == 403
    assert front.get("/jobs", headers=weak).status_code == 200

    found = entries(front, admin, principal="token:eve")

    assert [(entry["action"], entry["outcome"], entry["status"]) for entry in found] == [
        ("GET /keys", "refused", 403),
        ("POST /keys", "refused", 403),
    ]


def test_whoever_has_no_credential_cannot_fill_it(
    front: httpx.Client, admin: dict[str, str]
) -> None:
    for _ in range(3 * guard.ANONYMOUS_PER_MINUTE):
        front.get("/jobs")

    answer = front.get("/audit", params={"principal": "anonymous"}, headers=admin)

    assert int(answer.headers["x-total-count"]) <= guard.ANONYMOUS_PER_MINUTE


def test_it_is_paged(front: httpx.Client, admin: dict[str, str]) -> None:
    for _ in range(5):
        front.post("/keys", json=KEY, headers=admin)

    first = front.get("/audit", params={"limit": 2}, headers=admin)
    rest = entries(front, admin, offset=2)

    assert first.headers["x-total-count"] == "5"
    assert len(rest) == 3
    numbers = [entry["sequence"] for entry in first.json() + rest]
    assert numbers == sorted(numbers, reverse=True)


def origin(**changes: Any) -> Origin:
    values = {"principal": "p", "principal_name": "P", "action": "POST /x", "request_id": "r"}
    return Origin(**(values | changes))


def test_it_is_written_by_the_transaction_that_makes_the_change(world: World) -> None:
    state = world.services.state.on_behalf(origin())

    with pytest.raises(Conflict):
        state.call_sync(fails_late)  # type: ignore[arg-type]
    assert state.call_sync(audit.page, 10, 0, audit.AuditFilter()).total == 0
    assert world.services.state.call_sync(events.latest) == 0


def fails_late(connection: Any) -> None:
    events.append(connection, "x.y", "job-1")
    raise Conflict("Not now.")


fails_late.__aiforge_mode__ = "write"  # type: ignore[attr-defined]


def test_what_the_platform_does_by_itself_is_not_put_down_to_anybody(world: World) -> None:
    state = world.services.state
    state.call_sync(keys.note_uses, {})

    assert state.call_sync(audit.page, 10, 0, audit.AuditFilter()).total == 0


@pytest.mark.parametrize("statement", [update(audit.audit).values(action="x"), delete(audit.audit)])
def test_the_database_itself_refuses_to_change_it(world: World, statement: Any) -> None:
    state = world.services.state
    assert isinstance(state, LocalState)
    state.call_sync(audit.note_refusal, origin(), 403)
    opened = engine.open_engine(world.services.settings.resolved_database_url)

    with pytest.raises(DBAPIError, match="append-only"), opened.begin() as connection:
        connection.execute(statement)

    opened.dispose()
    assert state.call_sync(audit.page, 10, 0, audit.AuditFilter()).total == 1
