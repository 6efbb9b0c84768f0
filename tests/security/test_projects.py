"""A credential that is bound to a project neither sees nor touches another one's resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from front import MakeToken, bearer
from served import BASE_MODEL, World, add_dataset, fine_tune_body
from test_scopes import concrete, routes_of

from aiforge.api import scopes
from aiforge.api.scopes import Bound
from aiforge.services import artifacts

MakeRepository = Callable[[Mapping[str, str | bytes]], Path]


class As:
    """Requests of one credential."""

    def __init__(self, front: httpx.Client, token: str) -> None:
        self.headers = bearer(token)
        self._front = front

    def __call__(self, method: str, path: str, **rest: Any) -> httpx.Response:
        return self._front.request(method, path, headers=self.headers, **rest)


class Tenant:
    """What one project made by its own credential."""

    def __init__(self, world: World, ask: As, project: str, repository: Path) -> None:
        self.ask = ask
        self.project = project
        created = ask("POST", "/data-sources", json={"url": str(repository)})
        self.source: str = created.json()["sourceId"]
        world.finish(self.source)
        body = {"name": "d", "sourceIds": [self.source], "baseModel": BASE_MODEL}
        self.dataset: str = ask("POST", "/datasets/generate", json=body).json()["datasetId"]
        world.finish(self.dataset)
        body = fine_tune_body(self.dataset, projectName=project)
        self.job: str = ask("POST", "/v1/fine-tune", json=body).json()["jobId"]
        run = world.start(self.job)
        made = artifacts.keep(
            world.services.state,
            world.services.storage,
            self.job,
            "log",
            "said",
            b"hello",
            "text/plain",
            resource_ids=[self.job],
            attempt=run.attempt,
        )
        self.artifact = made.id
        world.complete(run)
        found = ask("GET", "/models").json()
        self.model: str = found[0]["id"] if found else ""

    @property
    def ids(self) -> dict[str, str]:
        return {
            "source_id": self.source,
            "dataset_id": self.dataset,
            "job_id": self.job,
            "artifact_id": self.artifact,
            "model_id": self.model,
        }


@pytest.fixture
def tenants(
    production: World, front: httpx.Client, token: MakeToken, make_repository: MakeRepository
) -> tuple[Tenant, Tenant]:
    repository = make_repository({"a.py": "x = 1\n"})
    ours, theirs = (
        Tenant(production, As(front, token("admin", projects=[name])), name, repository)
        for name in ("ours", "theirs")
    )
    return ours, theirs


def test_lists_show_what_is_ones_own(tenants: tuple[Tenant, Tenant]) -> None:
    for mine in tenants:
        for path, own in (
            ("/data-sources", mine.source),
            ("/datasets", mine.dataset),
            ("/jobs", mine.job),
            (f"/jobs?projectName={mine.project}", mine.job),
            (f"/artifacts?resourceId={mine.job}", mine.artifact),
        ):
            answer = mine.ask("GET", path)
            assert [item["id"] for item in answer.json()] == [own], path
            assert answer.headers["x-total-count"] == "1"


def test_every_route_treats_another_ones_resource_as_if_it_were_not_there(
    tenants: tuple[Tenant, Tenant], app: FastAPI
) -> None:
    ours, theirs = tenants
    asked = 0
    for route in routes_of(app):
        rule = scopes.RULES.get(route)
        if rule is None or rule.bound is not Bound.BY_ID:
            continue
        method, _, pattern = route.partition(" ")
        path = concrete(f"{method} {pattern}", theirs.ids)[1]
        answer = ours.ask(method, path)
        assert answer.status_code == 404, (route, answer.text)
        asked += 1
    assert asked >= 10
    assert theirs.ask("GET", f"/jobs/{theirs.job}").status_code == 200
    assert theirs.ask("GET", f"/artifacts/{theirs.artifact}/content").text == "hello"


def test_bodies_cannot_name_what_belongs_to_another_project(
    tenants: tuple[Tenant, Tenant],
) -> None:
    ours, theirs = tenants

    def tune(**changes: Any) -> httpx.Response:
        body = {"projectName": "ours", "datasetId": ours.dataset, "baseModel": BASE_MODEL}
        return ours.ask("POST", "/v1/fine-tune", json=body | changes)

    generate = {"name": "d", "sourceIds": [ours.source, theirs.source], "baseModel": BASE_MODEL}

    assert tune(datasetId=theirs.dataset).status_code == 404
    assert tune(projectName="theirs").json()["detail"]["code"] == "other_project"
    assert ours.ask("POST", "/datasets/generate", json=generate).status_code == 404
    assert ours.ask("GET", "/jobs?projectName=theirs").status_code == 403
    assert ours.ask("GET", f"/artifacts?resourceId={theirs.job}").status_code == 404
    assert ours.ask("GET", "/artifacts").status_code == 400
    assert tune().status_code == 201


def test_routes_of_the_whole_platform_are_not_for_bound_credentials(
    tenants: tuple[Tenant, Tenant], app: FastAPI
) -> None:
    ours, _ = tenants
    refused = 0
    for route in routes_of(app):
        rule = scopes.RULES.get(route)
        if rule is not None and rule.bound is Bound.REFUSED:
            answer = ours.ask(*concrete(route))
            assert answer.json()["detail"]["code"] == "bound_to_projects", route
            refused += 1
    assert refused >= 4


def test_a_dataset_belongs_to_each_project_that_trains_on_it(
    production: World,
    front: httpx.Client,
    admin: dict[str, str],
    token: MakeToken,
    make_repository: MakeRepository,
) -> None:
    front.headers.update(admin)
    dataset = add_dataset(front, production, make_repository({"a.py": "x = 1\n"}))
    ours = As(front, token("admin", projects=["ours"]))
    assert ours("GET", f"/datasets/{dataset}").status_code == 404

    body = fine_tune_body(dataset, projectName="ours")
    assert front.post("/v1/fine-tune", json=body).status_code == 201

    assert ours("GET", f"/datasets/{dataset}").status_code == 200


def test_who_is_bound_to_several_projects_says_which(
    tenants: tuple[Tenant, Tenant], front: httpx.Client, token: MakeToken
) -> None:
    both = As(front, token("admin", projects=["ours", "theirs"]))

    assert both("GET", "/jobs").json()["detail"]["field"] == "projectName"
    assert len(both("GET", "/jobs?projectName=ours").json()) == 1
    assert len(both("GET", "/datasets").json()) == 2
