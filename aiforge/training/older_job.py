"""What an older job left behind that a new one can start from; imports neither torch nor ray."""

from __future__ import annotations

from pydantic.alias_generators import to_camel

from aiforge.errors import InvalidInput, NotFound
from aiforge.schemas.jobs import JobConfig
from aiforge.storage import Storage, run_dir

_SNAPSHOT = "checkpoint_manager_snapshot.json"

FIXED = ("method", "rank", "target_modules", "quantize_base")
"""What the trained tensors' names and shapes follow from."""


def newest_checkpoint(storage: Storage, job_id: str) -> str | None:
    """Storage path of the newest complete checkpoint of a job, if one is left.

    Ray Train writes down which checkpoints are complete; a directory that is not in its list may
    have been cut off by a crash.
    """
    directory = run_dir(job_id)
    try:
        snapshot = storage.read_json(f"{directory}/{_SNAPSHOT}")
    except NotFound:
        return None
    newest = snapshot.get("latest_checkpoint_result") or {}
    name = str(newest.get("checkpoint_dir_name") or "")
    path = f"{directory}/{name}"
    return path if name and storage.exists(f"{path}/state.json") else None


def require_fit(config: JobConfig, base_model: str, older: JobConfig, older_base: str) -> None:
    """Refuse to start from a job whose trained tensors are not those of the new one.

    Raises:
        InvalidInput: ``resume_mismatch`` on ``resumeFrom``, saying what to set.
    """
    pairs = {"base_model": (base_model, older_base)} | {
        name: (getattr(config, name), getattr(older, name)) for name in FIXED
    }
    for name, (wanted, found) in pairs.items():
        if wanted != found:
            field = to_camel(name)
            error = f"That job was trained with {field} {found!r}, this one asks for {wanted!r}"
            raise InvalidInput(
                f"resumeFrom does not fit. {error}; use the same, or leave resumeFrom out.",
                code="resume_mismatch",
                field="resumeFrom",
                error=error,
            )
