"""A teacher that runs on the cluster's own GPUs, through Ray Data's vLLM processor.

Replies are kept as those of an endpoint are, so that what one build has computed no other repeats.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import ray
import ray.data

from aiforge.errors import Unavailable
from aiforge.raft.teacher import BUDGET_SPENT, INVALID, Asked, TeacherPlan, parameters
from aiforge.raft.teacher_cache import Reply, ReplyCache, request_key
from aiforge.raft.teacher_prompts import TeacherTask, believed, json_schema, messages, parse_reply
from aiforge.schemas.datasets import TeacherConfig
from aiforge.storage import Storage

_BATCH = 64


def ask_by_vllm(plan: TeacherPlan, tasks: list[TeacherTask]) -> Iterator[Asked]:
    """Ask a model that vLLM runs on every GPU of the cluster.

    Raises:
        Unavailable: ``no_gpu`` or ``no_vllm``.
    """
    cache = ReplyCache(Storage(plan.storage_uri), plan.config.model, plan.dataset_id)
    fresh: dict[str, TeacherTask] = {}
    for task in tasks:
        key = request_key_of(plan.config, task)
        if (reply := cache.get(key)) is not None:
            yield judged(task, reply, plan.dataset_id)
        else:
            fresh[key] = task
    budget = plan.config.max_requests
    room = len(fresh) if budget is None else max(0, budget - cache.spent.requests)
    for key in list(fresh)[room:]:
        task = fresh.pop(key)
        asked = Asked(task.id)
        asked.dropped[BUDGET_SPENT] += 1
        yield asked
    if not fresh:
        return
    _require_gpus()
    for row in _generate(plan.config, fresh):
        reply = Reply(row["text"], row["prompt_tokens"], row["reply_tokens"])
        kept = asyncio.run(cache.put(row["key"], reply))
        yield judged(fresh[row["key"]], kept, plan.dataset_id)


def request_key_of(config: TeacherConfig, task: TeacherTask) -> str:
    """Name of the request about a chunk, the same as for an endpoint."""
    asked = messages(task, config.questions_per_chunk)
    return request_key(config.model, parameters(config), asked)


def judged(task: TeacherTask, reply: Reply, payer: str) -> Asked:
    """What of a reply may be used."""
    asked = Asked(task.id)
    asked.count(reply, payer)
    try:
        asked.pairs, asked.dropped = believed(task, parse_reply(reply.text))
    except ValueError:
        asked.dropped[INVALID] += 1
    return asked


def prepared(config: TeacherConfig, row: Mapping[str, Any]) -> dict[str, Any]:
    """What vLLM's processor is given for one row: a conversation and how to sample."""
    task = TeacherTask(row["key"], row["path"], row["text"])
    sampling: dict[str, Any] = {"temperature": config.temperature, "max_tokens": config.max_tokens}
    if config.structured:
        sampling["structured_outputs"] = {"json": json.dumps(json_schema())}
    return {
        "key": row["key"],
        "messages": messages(task, config.questions_per_chunk),
        "sampling_params": sampling,
    }


def finished(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of one row of vLLM's processor."""
    return {
        "key": row["key"],
        "text": row["generated_text"],
        "prompt_tokens": int(row["num_input_tokens"]),
        "reply_tokens": int(row["num_generated_tokens"]),
    }


def engine_of(config: TeacherConfig, gpus: int) -> Any:
    """The engine's configuration: a replica of the model on each GPU."""
    from ray.data.llm import vLLMEngineProcessorConfig

    return vLLMEngineProcessorConfig(
        model_source=config.model,
        engine_kwargs={"enable_prefix_caching": True, "enable_chunked_prefill": True},
        concurrency=gpus,
        batch_size=_BATCH,
    )


def _generate(config: TeacherConfig, fresh: Mapping[str, TeacherTask]) -> Iterator[dict[str, Any]]:
    from ray.data.llm import build_processor

    gpus = int(ray.cluster_resources()["GPU"])
    processor = build_processor(
        engine_of(config, gpus),
        preprocess=lambda row: prepared(config, row),
        postprocess=finished,
    )
    rows = [{"key": key, "path": task.path, "text": task.text} for key, task in fresh.items()]
    yield from processor(ray.data.from_items(rows)).iter_rows()


def _require_gpus() -> None:
    if ray.cluster_resources().get("GPU", 0) < 1:
        raise Unavailable(
            "The cluster has no GPU for the teacher's engine vllm. Add one, or name an endpoint "
            "by teacher.url.",
            code="no_gpu",
        )
    if find_spec("vllm") is None:
        raise Unavailable(
            "vLLM is not installed where the dataset is built. Install it (`pip install vllm`), "
            "or name an endpoint by teacher.url.",
            code="no_vllm",
        )
