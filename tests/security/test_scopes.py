"""Every route asks every credential for the scope that the one table declares."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from front import MakeToken, bearer
from served import World

from aiforge.api import scopes
from aiforge.schemas.access import GRANTABLE, grants

WITHOUT_A_SCOPE = {"GET /openapi.json", "GET /docs", "GET /docs/{name}"}


def routes_of(app: FastAPI) -> list[str]:
    """The application's real routes, as the table names them."""
    found = [
        f"{method} {context.path}"
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if method != "HEAD"
    ]
    assert len(found) > 20
    return sorted(found)


def concrete(route: str, known: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Method and path of a route, with identifiers of nothing where none is known."""
    method, _, path = route.partition(" ")
    ids = known or {}

    def named(match: re.Match[str]) -> str:
        return ids.get(match[1], f"{match[1].removesuffix('_id')}-none")

    return method, re.sub(r"\{(\w+)\}", named, path)


def test_every_route_stands_in_the_table_and_nothing_else_does(app: FastAPI) -> None:
    real = set(routes_of(app))

    assert real - scopes.RULES.keys() - scopes.OPEN == set(), "add these to aiforge/api/scopes.py"
    without = {route for route, rule in scopes.RULES.items() if rule.scope is None}
    assert without == WITHOUT_A_SCOPE


async def walk(app: FastAPI, credentials: dict[str, dict[str, str]]) -> int:
    """Ask every route with every credential; how often that was."""
    asked = 0
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for route in routes_of(app):
            if route in scopes.OPEN or route == "GET /events":
                continue
            needed = scopes.RULES[route].scope
            method, path = concrete(route)
            for held, headers in credentials.items():
                answer = await client.request(method, path, headers=headers)
                asked += 1
                expected = needed is not None and not grants([held], needed)
                assert (answer.status_code == 403) == expected, (route, held, answer.text)
                if expected:
                    assert answer.json()["detail"]["scope"] == needed
    return asked


def test_every_route_against_every_scope(
    production: World, app: FastAPI, token: MakeToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each refusal is audited, as another test sees; a thousand commits would only take time.
    monkeypatch.setattr(production.services.state, "send", lambda *_: None)
    credentials = {scope: bearer(token(scope)) for scope in sorted(GRANTABLE)}

    asked = asyncio.run(walk(app, credentials))

    print(f"{asked} requests, each answered as declared")
    assert asked > 20 * len(credentials)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer aif_short.secret"},
        {"Authorization": f"Bearer aif_{'0' * 26}.{'x' * 43}"},
        {"Authorization": "Bearer a.b.c"},
        {"X-API-Key": "nothing"},
        {"Cookie": "session=1"},
    ],
    ids=str,
)
def test_nobody_gets_in_without_a_credential(
    front: httpx.Client, app: FastAPI, headers: dict[str, str]
) -> None:
    for route in routes_of(app):
        answer = front.request(*concrete(route), headers=headers)
        if route in scopes.OPEN:
            assert answer.status_code == 200, route
        else:
            assert answer.status_code == 401, (route, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["detail"].keys() >= {"code", "requestId"}


def test_streams_and_downloads_are_refused_before_they_begin(
    front: httpx.Client, token: MakeToken
) -> None:
    for path in ("/events", "/jobs/job-none/events", "/artifacts/art-none/content"):
        assert front.get(path).status_code == 401
        assert front.get(path, headers=bearer(token("missions:read"))).status_code == 403


def test_a_route_that_is_in_no_table_is_answered_to_nobody(
    front: httpx.Client, admin: dict[str, str]
) -> None:
    assert front.get("/nothing/here", headers=admin).status_code == 404
    assert front.get("/jobs/", headers=admin).status_code == 404
    assert front.put("/jobs", headers=admin).status_code == 405


def test_the_document_names_each_scope_and_the_errors_of_the_front_door(app: FastAPI) -> None:
    document = app.openapi()

    assert document["components"]["securitySchemes"].keys() == {"bearer", "apiKey"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            route = f"{method.upper()} {path}"
            if route in scopes.OPEN:
                assert operation["security"] == []
                continue
            needed = scopes.RULES[route].scope
            assert operation["security"] == [{"bearer": [needed]}, {"apiKey": [needed]}]
            assert {"401", "403", "429"} <= operation["responses"].keys(), route
