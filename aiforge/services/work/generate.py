"""Runs of kind ``generate``: snapshots to a RAFT dataset."""

from __future__ import annotations

import json
from typing import Any

from aiforge.errors import Cancelled, Failure, Unavailable
from aiforge.evaluation import exam
from aiforge.evaluation.ray_validate import mine_on_cluster
from aiforge.modeling.bases import resolve_base_model, tokenizer_json
from aiforge.raft import statistics
from aiforge.raft.holdout import fingerprint
from aiforge.raft.ray_build import BuildResult, SnapshotRef, build_dataset
from aiforge.raft.teacher import TeacherPlan
from aiforge.schemas.datasets import RaftConfig
from aiforge.services.context import RunContext
from aiforge.services.datasets import teacher_access
from aiforge.state import datasets
from aiforge.state.datasets import GenerateOutcome, GenerateSpec
from aiforge.storage import exam_file

EXAM_SHARE = 0.05
"""Part of a run's progress; building is counted from the beginning again."""


def execute(context: RunContext) -> dict[str, Any]:
    """Build the run's dataset; its report and preview lie beside it."""
    spec = GenerateSpec.model_validate(context.run.spec)
    base = resolve_base_model(spec.base_model, context.settings)
    context.log(f"Counting lengths with the tokenizer of {base.name}")
    result = build_dataset(
        context.settings.resolved_storage_uri,
        context.run.resource_id,
        [SnapshotRef(source_id=item.source_id, path=item.path) for item in spec.snapshots],
        config=_with_exam(context, spec),
        max_examples=spec.max_examples,
        format=spec.format,
        tokenizer_json=tokenizer_json(base),
        progress=lambda part, stage, made: context.progress(part, stage, example_count=made),
        teacher=_teacher(context, spec),
    )
    for line in statistics.summary(result.report.stages):
        context.log(line)
    _leave_artifacts(context, result)
    return GenerateOutcome(
        train_count=result.train_count,
        validation_count=result.validation_count,
        chunk_count=result.chunk_count,
        quality=result.quality,
    ).model_dump(by_alias=False)


def _leave_artifacts(context: RunContext, result: BuildResult) -> None:
    """What people look at: a report, a chart and the first examples."""
    dataset = context.state.call_sync(datasets.get, context.run.resource_id)
    counts = {
        "train": result.train_count,
        "validation": result.validation_count,
        "chunks": result.chunk_count,
    }
    report = statistics.markdown(
        dataset.name, result.report, result.quality, counts, result.preview
    )
    chart = statistics.chart(dataset.name, result.report)
    sources = dataset.source_ids
    context.artifact(
        "report", "Yield and quality", report.encode(), "text/markdown", resource_ids=sources
    )
    context.artifact(
        "chart", "Yield by stage", _json(chart), "application/json", resource_ids=sources
    )
    context.artifact(
        "file", "Preview", _json(result.preview), "application/json", resource_ids=sources
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode(errors="replace")


def _teacher(context: RunContext, spec: GenerateSpec) -> TeacherPlan | None:
    if spec.teacher is None:
        return None
    address, key_env = teacher_access(spec.teacher, context.settings)
    context.log(f"Asking {spec.teacher.model} for questions and answers")
    return TeacherPlan(
        context.settings.resolved_storage_uri,
        context.run.resource_id,
        spec.teacher,
        address,
        key_env,
    )


def _with_exam(context: RunContext, spec: GenerateSpec) -> RaftConfig:
    """The configuration with the exam's functions set aside, where it asks for an exam.

    An exam that an attempt before this one made is used again. Without one the dataset is built
    all the same; the log says why.
    """
    if not spec.raft.exam_items:
        return spec.raft
    path = exam_file(context.run.resource_id)
    if context.storage.exists(path):
        items = exam.load(context.storage.read_bytes(path))
    else:
        try:
            mined = mine_on_cluster(
                context.settings.resolved_storage_uri,
                [item.path for item in spec.snapshots],
                spec.raft.exam_items,
                spec.raft.seed,
                context.reporter(EXAM_SHARE),
                context.on_cancel,
            )
        except Cancelled:
            raise
        except (Failure, Unavailable) as error:
            context.log(f"No exam was made: {error.message}", "warning")
            return spec.raft
        items = mined.items
        context.storage.write_bytes(path, exam.dump(items))
        reasons = ", ".join(f"{count} × {reason}" for reason, count in mined.reasons.items())
        context.log(f"Set {len(items)} functions aside for the exam ({reasons or 'no others'})")
    reserved = [*spec.raft.reserved, *(fingerprint(item.code()) for item in items)]
    return spec.raft.model_copy(update={"reserved": reserved})
