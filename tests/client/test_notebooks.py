"""What a notebook shows and a table holds, whatever the names say."""

from __future__ import annotations

import html
from html.parser import HTMLParser
from typing import Any

import httpx
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiforge.api import examples, mission_examples
from aiforge.client import AIForge, Metrics
from aiforge.client._html import LONGEST
from aiforge.errors import (
    AIForgeError,
    Conflict,
    Forbidden,
    InternalError,
    InvalidInput,
    NotFound,
    RateLimited,
    Rejected,
    SchemaViolation,
    Unauthenticated,
    Unavailable,
)

PAGES: dict[str, tuple[Any, str]] = {
    "sources": (examples.SOURCE, "name"),
    "datasets": (examples.DATASET, "name"),
    "jobs": (examples.JOB, "projectName"),
    "models": (examples.MODEL, "name"),
    "artifacts": (examples.ARTIFACT, "name"),
}
OURS = {"table", "tr", "th", "td", "small", "i"}


class Seen(HTMLParser):
    """The tags of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert all(value == "text-align:left" for _, value in attrs)


def answering(body: Any, status: int = 200) -> AIForge:
    answer = lambda request: httpx.Response(status, json=body)  # noqa: E731
    return AIForge("http://forge.test", transport=httpx.MockTransport(answer))


hostile = st.one_of(
    st.text(max_size=50),
    st.sampled_from(["<script>alert(1)</script>", "</td><img src=x onerror=a()>", "'\"><b>&amp;"]),
)


@pytest.mark.parametrize("resource", PAGES)
@given(name=hostile)
def test_no_name_becomes_markup(resource: str, name: str) -> None:
    example, field = PAGES[resource]
    one = example | {field: name}

    page = getattr(answering([one]), resource).list()
    single = getattr(answering(one), resource).get("x")

    for shown in (page._repr_html_(), single._repr_html_()):
        assert Seen(shown).tags <= OURS
        assert html.escape(name) in shown


@given(name=hostile)
def test_missions_are_escaped_as_well(name: str) -> None:
    mission = mission_examples.MISSION | {"title": name, "description": name}
    listed = {"missions": [mission], "total": 1, "pending": 1}

    assert Seen(answering(mission).missions.get("m")._repr_html_()).tags <= OURS
    assert Seen(answering(listed).missions.list()._repr_html_()).tags <= OURS


def test_long_values_are_cut_and_empty_pages_say_so() -> None:
    job = examples.JOB | {"projectName": "x" * 10_000}

    assert len(answering(job).jobs.get("j")._repr_html_()) < 20 * LONGEST
    assert answering([]).jobs.list()._repr_html_() == "<i>none</i>"


HISTORY = {
    "steps": [1, 2, 3],
    "losses": [3.0, None, 1.0],
    "learningRates": [0.1, 0.1, 0.1],
    "gradNorms": [1.0, 1.0, 1.0],
}


def test_curves_are_a_table() -> None:
    metrics = answering(HISTORY).jobs.metrics("job-1")

    frame = metrics.to_pandas()

    assert list(frame.index) == [1, 2, 3]
    assert frame["loss"].isna().tolist() == [False, True, False]
    assert frame["eval_loss"].isna().all()
    plain = pandas.DataFrame(metrics.to_dict())
    assert len(plain) == 3
    assert list(plain.columns)[:3] == ["step", "loss", "learning_rate"]


@given(st.lists(st.integers(1, 10**6), max_size=20), st.integers(0, 30))
def test_columns_are_of_one_length(steps: list[int], others: int) -> None:
    metrics = Metrics(
        steps=steps,
        losses=[1.0] * len(steps),
        learning_rates=[None] * len(steps),
        grad_norms=[0.5] * len(steps),
        mfu=[0.1] * others,
    )

    assert {len(values) for values in metrics.to_dict().values()} == {len(steps)}


def test_without_pandas_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = answering(HISTORY).jobs.metrics("job-1")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)

    with pytest.raises(ImportError, match="pip install pandas"):
        metrics.to_pandas()
    assert metrics.to_dict()["step"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (405, Rejected),
        (409, Conflict),
        (413, Rejected),
        (415, Rejected),
        (416, Rejected),
        (422, SchemaViolation),
        (429, RateLimited),
        (500, InternalError),
        (503, Unavailable),
    ],
)
def test_errors_are_raised_as_their_class(status: int, kind: type[AIForgeError]) -> None:
    body = {"status": status, "message": "No.", "detail": {"code": "c", "requestId": "req-1"}}
    transport = httpx.MockTransport(
        lambda request: httpx.Response(status, json=body, headers={"Retry-After": "60"})
    )

    with pytest.raises(AIForgeError) as raised:
        AIForge("http://forge.test", transport=transport).jobs.get("job-1")

    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.detail["requestId"]) == ("c", "req-1")
