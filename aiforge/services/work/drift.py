"""Runs of kind ``drift``: score a model on what changed since its data was read."""

from __future__ import annotations

import math
import tempfile
from typing import Any

from aiforge.errors import Failure
from aiforge.evaluation.compare import read_rows
from aiforge.evaluation.drift import Loss
from aiforge.evaluation.ray_drift import measure_losses
from aiforge.modeling.bases import resolve_base_model, tokenizer_json
from aiforge.raft.changes import Changes, examples_of, find_changes, summary
from aiforge.schemas.drifts import Commit, Drift, LossEstimate
from aiforge.services.confidence import ratio_estimate
from aiforge.services.context import RunContext
from aiforge.sources.snapshot import Manifest, read_manifest
from aiforge.state.drifts import DriftSpec
from aiforge.storage import Storage, dataset_dir

MOST_EXAMPLES = 256
"""Of each set; the standard error falls with the root of the number, the cost grows with it."""


def execute(context: RunContext) -> dict[str, Any]:
    """Measure the run's model; the summary of what changed is kept as an artifact."""
    spec = DriftSpec.model_validate(context.run.spec)
    tokenizer = tokenizer_json(resolve_base_model(spec.base_model, context.settings))
    context.progress(0.05, "comparing snapshots")
    changes = find_changes(
        context.storage,
        {snapshot.source_id: snapshot.path for snapshot in spec.before},
        {snapshot.source_id: snapshot.path for snapshot in spec.after},
        tokenizer_json=tokenizer,
        chunk_tokens=spec.raft.chunk_tokens,
    )
    drift = Drift(
        model_id=spec.model_id,
        changed_chunks=changes.added,
        changed_share=changes.share_of(spec.chunk_count),
        changed_files=[file.path for file in changes.files],
        removed_files=changes.removed_files,
        commits=_commits(context.storage, spec),
    )
    context.log(
        f"{changes.added} chunks in {len(changes.files)} files are new, {changes.removed} are gone"
    )
    if changes.files:
        context.artifact(
            "report",
            "Changed files",
            summary(changes.files).encode(),
            "text/markdown",
            resource_ids=[spec.model_id],
        )
    _measure(context, spec, tokenizer, changes, drift)
    return drift.model_dump(by_alias=False)


def _measure(
    context: RunContext, spec: DriftSpec, tokenizer: str, changes: Changes, drift: Drift
) -> None:
    if changes.added < spec.min_chunks:
        drift.unmeasured = (
            f"{changes.added} chunks changed; below {spec.min_chunks} nothing is measured."
        )
        return
    held_out = read_rows(context.storage, f"{dataset_dir(spec.dataset_id)}/validation")
    if not held_out:
        drift.unmeasured = "The dataset of the model holds nothing out to compare with."
        return
    context.progress(0.2, "asking about what changed")
    try:
        with tempfile.TemporaryDirectory(prefix="aiforge-drift-") as workspace:
            changed = examples_of(
                changes,
                Storage(workspace),
                config=spec.raft,
                tokenizer_json=tokenizer,
                max_examples=MOST_EXAMPLES,
            )
    except Failure as error:
        drift.unmeasured = f"No question can be asked about what changed: {error.message}"
        return
    if not changed:
        drift.unmeasured = "No question can be asked about the chunks that changed."
        return
    context.progress(0.4, "scoring the model")
    losses = measure_losses(
        resolve_base_model(spec.base_model, context.settings),
        spec.adapter_path,
        {"changed code": changed, "held-out code": held_out[:MOST_EXAMPLES]},
        spec.training.max_seq_length or spec.raft.context_tokens,
        context.storage.uri,
    )
    drift.changed = _estimate(losses["changed code"])
    drift.held_out = _estimate(losses["held-out code"])
    context.log(
        f"Perplexity {drift.changed.perplexity:.2f} on changed code "
        f"({drift.changed.examples} examples), {drift.held_out.perplexity:.2f} on held-out code "
        f"({drift.held_out.examples} examples)"
    )


def _estimate(losses: list[Loss]) -> LossEstimate:
    found = ratio_estimate([one.nll for one in losses], [float(one.tokens) for one in losses])
    return LossEstimate(
        mean=found.mean,
        # One example says nothing of the spread; JSON has no infinity for it.
        standard_error=found.standard_error if math.isfinite(found.standard_error) else found.mean,
        examples=found.samples,
        tokens=sum(one.tokens for one in losses),
        perplexity=math.exp(min(found.mean, 700.0)),
    )


def _commits(storage: Storage, spec: DriftSpec) -> list[Commit]:
    """The commits between the snapshots, newest first, as the syncs in between noted them."""
    found: dict[str, Commit] = {}
    for snapshot in spec.after:
        before = next((s for s in spec.before if s.source_id == snapshot.source_id), None)
        end = read_manifest(storage, before.path).commit if before else None
        manifests = _by_commit(storage, snapshot.path)
        commit = read_manifest(storage, snapshot.path).commit
        while commit is not None and commit != end and commit in manifests:
            history = manifests.pop(commit).history
            for one in history.commits if history else []:
                found.setdefault(one.id, Commit(id=one.id, subject=one.subject))
            commit = history.previous_commit if history else None
    return list(found.values())


def _by_commit(storage: Storage, snapshot: str) -> dict[str, Manifest]:
    """The manifests of all snapshots of a source, by the commit that each was read from."""
    parent = snapshot.rpartition("/")[0]
    manifests = [read_manifest(storage, f"{parent}/{name}") for name in storage.names(parent)]
    return {one.commit: one for one in manifests if one.commit is not None}
