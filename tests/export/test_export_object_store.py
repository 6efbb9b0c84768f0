"""Exports whose storage is an object store."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from buckets import ObjectStore
from export_jobs import carry_out, completed_job, queue
from wide_models import make_adapter

from aiforge.errors import Failure, NotFound
from aiforge.modeling.bases import resolve_base_model
from aiforge.schemas.exports import ExportStatus
from aiforge.services.exported import is_whole, local_file
from aiforge.settings import Settings
from aiforge.state.access import LocalState
from aiforge.state.store import Store
from aiforge.storage import Storage, export_dir

pytest.importorskip("llama_cpp")


def test_an_export_is_made_here_and_published_there(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", storage_uri=object_store.uri)
    storage = Storage(settings.resolved_storage_uri)
    adapter = make_adapter(resolve_base_model("forge-tiny", settings), tmp_path / "adapter", 0.02)
    store = Store(settings.resolved_database_url)
    state = LocalState(store)
    job_id = completed_job(state, storage, adapter)
    done = carry_out(state, settings, queue(state, job_id, "q4_k_m"))
    assert (done.status, done.error) == (ExportStatus.COMPLETED, None)
    target = export_dir(done.export_id)
    assert done.output_path == f"{object_store.uri}/{target}/model.gguf"
    assert storage.names(target) == ["model.gguf", "parity.json"]
    content = b"".join(storage.pieces(f"{target}/model.gguf", 0, done.size or 0))
    assert hashlib.sha256(content).hexdigest() == done.sha256
    storage.write_bytes(f"{target}/model.gguf", content[:-1] + b"\0")
    with pytest.raises(Failure) as damaged:
        local_file(storage, settings, done)
    assert damaged.value.code == "export_damaged"
    assert not is_whole(storage, done), "a reader had noticed, so the content counts"
    storage.write_bytes(f"{target}/model.gguf", content)
    assert local_file(storage, settings, done).path.read_bytes() == content
    assert len(list((settings.home / "cache" / "gguf").iterdir())) == 1
    assert is_whole(storage, done)
    storage.delete(f"{target}/model.gguf")
    assert not is_whole(storage, done)
    shutil.rmtree(settings.home / "cache")
    with pytest.raises(NotFound, match=f"aiforge export create {job_id} --quantization q4_k_m"):
        local_file(storage, settings, done)
    store.close()
