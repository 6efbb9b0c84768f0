"""The API as Ray Serve runs it, over the State actor."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from aiforge.settings import Settings

pytestmark = pytest.mark.cluster


@pytest.fixture
def url(ray_cluster: None, tmp_path: Path) -> Iterator[str]:
    """Address of the Serve application, without a dispatcher behind it."""
    import ray
    from ray import serve

    from aiforge.api.app import build
    from aiforge.state import actor

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = Settings(
        home=tmp_path / "home",
        port=port,
        namespace=f"serve-{port}",
        source_roots=[tmp_path],
        disk_reserve_bytes=0,
    )
    actor.start(settings)
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(settings), name="aiforge", route_prefix="/")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.kill(ray.get_actor(actor.NAME, namespace=settings.namespace))


def test_requests_errors_uploads_and_streams_pass_through_serve(
    url: str, make_repository: Callable[[Mapping[str, str]], Path]
) -> None:
    repository = make_repository({"a.py": "x = 1\n"})
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as api:
        assert api.get("/health").json()["checks"]["database"] is True
        created = api.post("/data-sources", json={"url": str(repository)})
        uploaded = api.post("/data-sources", files=[("files", ("a.py", b"x" * (1 << 20)))])
        missing = api.get("/jobs/job-none")
        page = api.get("/data-sources?limit=1")
        with api.stream("GET", "/events", headers={"Last-Event-ID": "0"}) as answer:
            lines = answer.iter_lines()
            first = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        document = api.get("/openapi.json")

    assert (created.status_code, uploaded.status_code) == (201, 201)
    assert missing.json()["detail"]["code"] == "job_not_found"
    assert missing.json()["detail"]["requestId"] == missing.headers["x-request-id"]
    assert [source["id"] for source in page.json()] == [uploaded.json()["sourceId"]]
    assert page.headers["x-total-count"] == "2"
    assert first["type"] == "run.queued"
    assert document.json()["openapi"].startswith("3.1")
