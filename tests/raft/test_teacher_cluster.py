"""The teacher as an actor of a cluster, and as vLLM as far as that goes without a GPU."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from corpora import Write, corpus_files, rows_of
from teacher_server import answer_of, teacher_server
from test_teacher import TASKS, ask, plan_for
from test_teaching import build

from aiforge.errors import Failure, Unavailable
from aiforge.raft.teacher import BUDGET_SPENT, Account, TeacherPlan
from aiforge.raft.teacher_cache import ReplyCache
from aiforge.raft.teacher_prompts import json_schema
from aiforge.schemas.datasets import RaftConfig, TeacherConfig
from aiforge.storage import Storage

VLLM = TeacherConfig(engine="vllm", model="Qwen/Qwen2.5-Coder-7B-Instruct")


@pytest.mark.cluster
def test_an_actor_asks_as_a_plain_process_does(ray_cluster: None, storage: Storage) -> None:
    from aiforge.raft.ray_teacher import ask_on_cluster

    with teacher_server(0.01) as (url, server):
        plan = plan_for(storage, url)
        there = sorted(ask_on_cluster(plan, TASKS), key=lambda asked: int(asked.id[1:]))
        assert server.requests == len(TASKS)
        assert 1 < server.most <= plan.config.slots
        here, use = ask(plan)
        assert server.requests == len(TASKS)
        assert there == here
        account = Account(plan)
        for asked in there:
            account.add(asked)
        assert account.finish() == use


@pytest.mark.cluster
def test_a_cluster_builds_with_a_teacher_what_one_process_builds(
    ray_cluster: None, storage: Storage, write_snapshot: Write, tokenizer_json: str
) -> None:
    from aiforge.raft.ray_build import build_dataset

    ref = write_snapshot(corpus_files())
    config = RaftConfig(validation_fraction=0.25)
    with teacher_server(0.005) as (url, server):
        there = build_dataset(
            storage.uri,
            "there",
            [ref],
            config=config,
            max_examples=60,
            format="alpaca",
            tokenizer_json=tokenizer_json,
            progress=lambda _part, _stage, _made: None,
            teacher=plan_for(storage, url, "there"),
        )
        paid = server.requests
        assert there.report.teacher is not None
        assert there.report.teacher.requests == paid > 0
        build(storage, tokenizer_json, ref, url, "here")
        assert server.requests == paid
    for split in ("train", "validation"):
        assert rows_of(storage, split, "here") == rows_of(storage, split, "there")
    assert any(row["kind"] == "teacher" for row in rows_of(storage, "train", "there"))


@pytest.mark.cluster
def test_an_actor_s_error_arrives_as_it_was_raised(ray_cluster: None, storage: Storage) -> None:
    from aiforge.raft.ray_teacher import ask_on_cluster

    with teacher_server() as (url, _):
        plan = plan_for(storage, url.replace("/v1", "/nowhere"))
        with pytest.raises(Failure, match=r"Check teacher\.url") as failed:
            list(ask_on_cluster(plan, TASKS))
    assert (failed.value.code, failed.value.detail["status"]) == ("teacher_refused", 404)


def _vllm_plan(storage: Storage, **options: object) -> TeacherPlan:
    config = VLLM.model_copy(update=options)
    return TeacherPlan(storage.uri, "ds-1", config, None)


def test_vllm_is_given_the_same_conversation_and_schema() -> None:
    from aiforge.raft.ray_vllm import finished, prepared

    row = prepared(VLLM, {"key": "k", "path": TASKS[0].path, "text": TASKS[0].text})
    assert row["messages"][1]["content"].count(TASKS[0].text) == 1
    assert json.loads(row["sampling_params"]["structured_outputs"]["json"]) == json_schema()
    reply = {"key": "k", "generated_text": "t", "num_input_tokens": 3, "num_generated_tokens": 2}
    assert finished(row | reply) == {
        "key": "k",
        "text": "t",
        "prompt_tokens": 3,
        "reply_tokens": 2,
    }


def test_vllm_s_configuration_is_one_that_ray_accepts() -> None:
    from aiforge.raft.ray_vllm import engine_of

    config = engine_of(VLLM, 2)
    assert config.model_source == VLLM.model
    assert config.concurrency == 2


def test_vllm_takes_its_replies_from_the_cache(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiforge.raft import ray_vllm

    asked: list[str] = []

    def generate(config: TeacherConfig, fresh: dict[str, object]) -> list[dict[str, object]]:
        asked.extend(fresh)
        rows = [
            ray_vllm.prepared(config, {"key": key, "path": task.path, "text": task.text})  # type: ignore[attr-defined]
            for key, task in fresh.items()
        ]
        return [
            {"key": row["key"], "text": answer_of(row), "prompt_tokens": 9, "reply_tokens": 3}
            for row in rows
        ]

    monkeypatch.setattr(ray_vllm, "_generate", generate)
    monkeypatch.setattr(ray_vllm, "_require_gpus", lambda: None)
    first = list(ray_vllm.ask_by_vllm(_vllm_plan(storage, max_requests=5), TASKS))
    assert len(asked) == 5
    assert sum(bool(found.pairs) for found in first) == 5
    assert sum(found.dropped[BUDGET_SPENT] for found in first) == len(TASKS) - 5
    second = list(ray_vllm.ask_by_vllm(_vllm_plan(storage), TASKS))
    assert len(asked) == len(set(asked)) == len(TASKS)
    assert all(found.pairs for found in second)
    assert len(ReplyCache(storage, VLLM.model, "ds-1")) == len(TASKS)


@pytest.mark.cluster
def test_vllm_without_a_gpu_is_refused_with_the_remedy(ray_cluster: None, storage: Storage) -> None:
    import ray

    from aiforge.raft.ray_vllm import ask_by_vllm

    if ray.cluster_resources().get("GPU", 0) and find_spec("vllm"):
        pytest.skip("this cluster could really run vLLM")
    with pytest.raises(Unavailable, match=r"teacher\.url") as refused:
        list(ask_by_vllm(_vllm_plan(storage), TASKS))
    assert refused.value.code in ("no_gpu", "no_vllm")
