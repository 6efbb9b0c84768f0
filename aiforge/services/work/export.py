"""Runs of kind ``export``: a job's model as a file that other programs load."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiforge.errors import Failure, NotFound
from aiforge.export.exporter import export_model
from aiforge.export.plan import PARITY_FILE, ExportPlan
from aiforge.export.report import markdown
from aiforge.modeling.bases import BaseModel, local_directory, resolve_base_model
from aiforge.services.context import RunContext
from aiforge.state.exports import ExportOutcome, ExportSpec
from aiforge.storage import Storage, adapter_dir, export_dir, model_dir

_BLOCK = 1 << 22


def execute(context: RunContext) -> dict[str, Any]:
    """Make the run's export; it was compared before it is published as a whole.

    An attempt that was killed before leaves a work directory, which goes, or a published export,
    which stays.
    """
    spec = ExportSpec.model_validate(context.run.spec)
    target = export_dir(context.run.resource_id)
    report = _published(context.storage, target)
    if report is None:
        context.storage.delete(target)
        report = _make(context, spec, target)
    else:
        context.log("The last attempt had published the export already; it is as it was written")
    name = f"Parity of {spec.project_name} ({spec.quantization or spec.format})"
    context.artifact(
        "report",
        name,
        markdown(name, report).encode(),
        "text/markdown",
        resource_ids=[spec.job_id],
    )
    return _outcome(context.storage, target, report).model_dump(by_alias=False)


def _make(context: RunContext, spec: ExportSpec, target: str) -> dict[str, Any]:
    with context.storage.work_dir(context.run.id) as work:
        made = work / "export"
        made.mkdir()
        context.progress(0.0, "fetching the model")
        plan = _plan(context, spec, work, made)
        context.log(f"Exporting {spec.job_id} as {spec.format} {spec.quantization or ''}".strip())
        report = export_model(plan, context.progress).to_dict()
        for check in report["checks"]:
            context.log(
                f"{check['name']}: {check['measured']:.4g} {check['unit']} "
                f"(at most {check['bound']:.4g})"
            )
        for note in report["notes"]:
            context.log(note, "warning")
        context.progress(0.96, "publishing")
        context.storage.adopt(made, target)
    return report


def _plan(context: RunContext, spec: ExportSpec, work: Path, made: Path) -> ExportPlan:
    base = resolve_base_model(spec.base_model, context.settings)
    adapter: Path | None = None
    if spec.method == "full":
        model = _local(context.storage, model_dir(spec.job_id), work / "model")
    else:
        adapter = _local(context.storage, adapter_dir(spec.job_id), work / "adapter")
        base = _as_trained(base, adapter)
        model = local_directory(base)
    return ExportPlan(
        base=base,
        model=model,
        adapter=adapter,
        format=spec.format,
        quantization=spec.quantization or "f32",
        name=spec.project_name,
        workspace=made,
    )


def _as_trained(base: BaseModel, adapter: Path) -> BaseModel:
    """The base at the commit that the adapter was trained on."""
    revision = trained_revision(adapter)
    return base if base.is_local or revision is None else replace(base, revision=revision)


def trained_revision(adapter: Path) -> str | None:
    """The commit on the hub that an adapter names."""
    try:
        revision = json.loads((adapter / "adapter_config.json").read_text()).get("revision")
    except (OSError, ValueError) as error:
        raise Failure(
            f"The adapter in {adapter} cannot be read: {error}", code="adapter_unreadable"
        ) from error
    return None if revision is None else str(revision)


def _local(storage: Storage, path: str, copy: Path) -> Path:
    """A directory of the storage as a plain path; on an object store it is downloaded."""
    if not storage.exists(path):
        raise NotFound(
            f"{storage.uri_of(path)} does not exist; train the job again.", code="file_not_found"
        )
    return Path(storage.full(path)) if storage.is_local else storage.download(path, copy)


def _published(storage: Storage, target: str) -> dict[str, Any] | None:
    """The report of a published export whose files are what they were; else ``None``."""
    try:
        report: dict[str, Any] = storage.read_json(f"{target}/{PARITY_FILE}")
        for file in report["files"]:
            if _sha256(storage, f"{target}/{file['name']}") != file["sha256"]:
                return None
    except (NotFound, KeyError, ValueError):
        return None
    return report


def _sha256(storage: Storage, path: str) -> str:
    digest = hashlib.sha256()
    with storage.open_input(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _outcome(storage: Storage, target: str, report: dict[str, Any]) -> ExportOutcome:
    main = next(file for file in report["files"] if file["name"] == report["main"])
    return ExportOutcome(
        output_path=storage.uri_of(f"{target}/{report['main']}"),
        size=main["size"],
        sha256=main["sha256"],
        files=report["files"],
        stop_tokens=report["stop_tokens"],
        context_length=report["context_length"],
    )
