"""Runs of kind export: published as a whole or not at all, and never made twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from export_jobs import TRAINED, carry_out, completed_job, end, queue, queued_job, run_of
from killed_export import MIDDLES, PUBLISHED
from wide_models import make_adapter

from aiforge.errors import Conflict, InvalidInput, NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.runtime.drivers import Driver
from aiforge.schemas.exports import Export, ExportStatus
from aiforge.schemas.runs import RunStatus
from aiforge.services.context import RunContext
from aiforge.settings import Settings
from aiforge.state import artifacts, exports, outcomes, runs
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage, adapter_dir, export_dir, model_dir

pytest.importorskip("llama_cpp")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.resolved_storage_uri)


@pytest.fixture
def state(settings: Settings) -> Iterator[LocalState]:
    store = Store(settings.resolved_database_url)
    yield LocalState(store)
    store.close()


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published adapter of forge-tiny."""
    base = resolve_base_model("forge-tiny", Settings())
    return make_adapter(base, tmp_path_factory.mktemp("adapters") / "adapter", size=0.02)


@pytest.fixture
def job_id(state: LocalState, storage: Storage, adapter: Path) -> str:
    """A job that has completed."""
    return completed_job(state, storage, adapter)


def test_an_export_is_published_with_what_was_compared_of_it(
    state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    done = carry_out(state, settings, queue(state, job_id))
    assert done.status is ExportStatus.COMPLETED
    assert done.output_path is not None
    content = Path(done.output_path).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (done.size, done.sha256)
    assert done.stop_tokens == ["<|im_end|>"]
    assert storage.names(export_dir(done.export_id)) == ["model.gguf", "parity.json"]
    assert storage.names("work") == []
    (report,) = state.call_sync(artifacts.page, 9, 0, job_id).items
    assert (report.type, report.mime_type) == ("report", "text/markdown")


def test_the_same_is_never_exported_twice(
    state: LocalState, settings: Settings, job_id: str
) -> None:
    first = queue(state, job_id)
    assert queue(state, job_id).export_id == first.export_id
    done = carry_out(state, settings, first)
    assert queue(state, job_id) == done
    other = queue(state, job_id, "q4_k_m")
    assert other.export_id != first.export_id
    assert state.call_sync(exports.newest, job_id) == done
    state.call_sync(outcomes.cancel, run_of(state, other))
    assert queue(state, job_id, "q4_k_m").export_id != other.export_id
    assert state.call_sync(exports.page, job_id, 9, 0).total == 3


def test_a_whole_model_can_be_exported_and_has_no_adapter(
    state: LocalState, settings: Settings, storage: Storage
) -> None:
    job_id = queued_job(state, "full")
    base = resolve_base_model("forge-tiny", settings)
    storage.upload(Path(base.location), model_dir(job_id))
    end(state, job_id, TRAINED)
    assert carry_out(state, settings, queue(state, job_id)).status is ExportStatus.COMPLETED
    with pytest.raises(InvalidInput, match="no adapter"):
        queue(state, job_id, None, format="peft")


@pytest.mark.parametrize("stage", ["writing", "comparing with 16 bit"])
def test_an_export_that_is_cancelled_leaves_nothing(
    stage: str,
    state: LocalState,
    settings: Settings,
    storage: Storage,
    job_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = queue(state, job_id)
    run_id = run_of(state, export)
    state.call_sync(runs.start, run_id)
    told = RunContext.progress

    def progress(context: RunContext, fraction: float, at: str | None = None, **more: Any) -> None:
        if at == stage:
            state.call_sync(outcomes.cancel, run_id)
            context.cancel()
        told(context, fraction, at, **more)

    monkeypatch.setattr(RunContext, "progress", progress)
    assert Driver(settings, run_id, 1, state=state).join(120)

    assert state.call_sync(runs.get, run_id).status is RunStatus.CANCELLED
    ended = state.call_sync(exports.get, export.export_id)
    assert (ended.status, ended.error_code) == (ExportStatus.FAILED, "cancelled")
    assert (storage.names("exports"), storage.names("work")) == ([], [])


@pytest.mark.parametrize(
    ("format", "quantization", "main"),
    [("peft", None, "adapter_model.safetensors"), ("safetensors", "bf16", "model.safetensors")],
)
def test_an_adapter_and_merged_weights_can_be_had(
    format: str,
    quantization: str | None,
    main: str,
    state: LocalState,
    settings: Settings,
    job_id: str,
) -> None:
    done = carry_out(state, settings, queue(state, job_id, quantization, format=format))
    assert done.status is ExportStatus.COMPLETED, done.error
    assert done.output_path is not None
    assert Path(done.output_path).name == main
    with pytest.raises(InvalidInput):
        queue(state, job_id, "q8_0", format=format)


def test_what_has_not_completed_cannot_be_exported(state: LocalState) -> None:
    job_id = queued_job(state)
    with pytest.raises(Conflict) as refused:
        queue(state, job_id)
    assert refused.value.code == "job_not_completed"
    with pytest.raises(NotFound):
        queue(state, "job-none")
    (run,) = state.call_sync(runs.waiting)
    with pytest.raises(NotFound):
        state.call_sync(exports.get, run.id)


def test_a_failed_comparison_publishes_nothing(
    state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    weights = Path(storage.full(adapter_dir(job_id))) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    failed = carry_out(state, settings, queue(state, job_id))
    assert (failed.status, failed.error_code) == (ExportStatus.FAILED, "adapter_unreadable")
    assert failed.output_path is None
    assert not storage.exists(export_dir(failed.export_id))
    assert storage.names("work") == []


def killed_at(
    where: str, state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> tuple[Export, float | None]:
    """Have the first attempt killed, carry out the second; what was there between, by its time."""
    export = queue(state, job_id)
    run_id = run_of(state, export)
    state.call_sync(runs.start, run_id)
    script = Path(__file__).with_name("killed_export.py")
    command = [sys.executable, str(script), str(settings.home), run_id, "1", where]
    # A session of its own, whose number is its process's.
    killed = subprocess.Popen(command, env=dict(os.environ), start_new_session=True)
    assert killed.wait() == -9
    with pytest.raises(ProcessLookupError):
        os.killpg(killed.pid, 0)
    if where in MIDDLES:
        assert any(path.is_file() for path in Path(storage.full("work")).rglob("*")), "too early"
    main = Path(storage.full(export_dir(export.export_id))) / "model.gguf"
    between = main.stat().st_mtime if main.exists() else None
    assert state.call_sync(exports.get, export.export_id).status is ExportStatus.RUNNING
    state.call_sync(outcomes.recover, run_id, 1, "it was killed")
    assert Driver(settings, run_id, 2, state=state).join(120)
    assert state.call_sync(runs.get, run_id).status is RunStatus.COMPLETED
    done = state.call_sync(exports.get, export.export_id)
    assert hashlib.sha256(main.read_bytes()).hexdigest() == done.sha256
    assert storage.names("exports") == [export.export_id]
    assert storage.names("work") == []
    if between is not None:
        assert main.stat().st_mtime == between
    return done, between


def test_an_export_that_was_killed_is_repeated_cleanly(
    state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    _, between = killed_at("amid quantizing", state, settings, storage, job_id)
    assert between is None


def test_what_was_published_before_the_kill_is_not_made_again(
    state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    _, between = killed_at(PUBLISHED, state, settings, storage, job_id)
    assert between is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["fetching the model", *sorted(MIDDLES.keys() - {"amid quantizing"})]
)
def test_an_export_survives_a_kill_at_every_stage(
    where: str, state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    _, between = killed_at(where, state, settings, storage, job_id)
    assert between is None


def test_what_lies_in_the_storage_is_trusted_only_if_its_hash_is_right(
    state: LocalState, settings: Settings, storage: Storage, job_id: str
) -> None:
    first = carry_out(state, settings, queue(state, job_id))
    other = queue(state, job_id, "q6_k")
    assert first.output_path is not None
    # What a broken copy on an object store would leave.
    target = Path(storage.full(export_dir(other.export_id)))
    shutil.copytree(Path(first.output_path).parent, target)
    (target / "model.gguf").write_bytes(b"GGUF")
    done = carry_out(state, settings, other)
    assert done.status is ExportStatus.COMPLETED
    assert done.size is not None
    assert done.size > 1000
