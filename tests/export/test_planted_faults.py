"""What each planted fault leads to: a clear failure, and the version before it still answers.

One project has an active version on a server, and a second version that a fault is planted in:
in what it is exported from, in the exported file, on the way to the server, or in the server. The
table says what the person who asks is told. No fault may cost the version that is active, so one
platform serves all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from deployed import PROJECT, Platform, gguf, open_platform, wait_for  # noqa: F401
from ollama_double import OllamaDouble, serve
from safetensors.torch import load_file, save_file
from wide_models import make_adapter, make_wide

from aiforge.export import vocabulary
from aiforge.modeling.bases import resolve_base_model
from aiforge.runtime.drivers import Driver
from aiforge.settings import Settings
from aiforge.state import exports, models, runs
from aiforge.storage import adapter_dir

pytest.importorskip("llama_cpp")


@dataclass
class Scene:
    """A platform, its server, and the version of the project that is active."""

    platform: Platform
    double: OllamaDouble
    active: str

    def storage(self, path: str) -> Path:
        return Path(self.platform.services.storage.full(path))

    def adapter(self, model_id: str, made: Path) -> Path:
        """Have a model's job leave this adapter; where it lies."""
        job_id = self.platform.state.call_sync(models.get, model_id).job_id
        self.platform.services.storage.upload(made, adapter_dir(job_id))
        return self.storage(adapter_dir(job_id)) / "adapter_model.safetensors"

    def file(self, model_id: str) -> Path:
        """The GGUF that a model was exported as."""
        job_id = self.platform.state.call_sync(models.get, model_id).job_id
        export = self.platform.state.call_sync(exports.newest, job_id)
        assert export is not None
        assert export.output_path is not None
        return self.storage(export.output_path)

    def heal(self) -> None:
        self.double.faults = type(self.double.faults)()
        self.double.is_dead = False


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[Scene]:  # noqa: F811
    home = tmp_path_factory.mktemp("faults")
    (home / "blobs").mkdir()
    double = OllamaDouble(home / "blobs")
    with serve(double) as url:
        settings = Settings(home=home / "home", model_roots=[home], ollama_url=url)
        opened = open_platform(settings, gguf)
        platform = next(opened)
        first = platform.train()
        platform.export(first)
        for action in ("deploy", "activate"):
            assert platform.post(first, action).status_code == 200
        yield Scene(platform, double, first)
        next(opened, None)


@pytest.fixture(scope="module")
def tiny_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = resolve_base_model("forge-tiny", Settings())
    return make_adapter(base, tmp_path_factory.mktemp("adapters") / "tiny", size=0.02)


def still_active(scene: Scene) -> None:
    """The first version is active, on the server too, and answers."""
    platform, names = scene.platform, scene.double.names
    assert platform.api.get(f"/models/active?projectName={PROJECT}").json()["id"] == scene.active
    (latest,) = [name for name in names if name.endswith(":latest")]
    assert names[latest] == names[latest.replace(":latest", ":v1")]
    answer = platform.ask(PROJECT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["system_fingerprint"] == scene.active


# Faults in what is exported.


def _not_a_number(scene: Scene, model_id: str, made: Path, patch: pytest.MonkeyPatch) -> None:
    path = scene.adapter(model_id, made)
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})


def _another_base(scene: Scene, model_id: str, made: Path, patch: pytest.MonkeyPatch) -> None:
    wide = make_wide(scene.storage("wide"))
    scene.adapter(model_id, make_adapter(wide, scene.storage("wide-adapter")))


def _no_tokenizer(scene: Scene, model_id: str, made: Path, patch: pytest.MonkeyPatch) -> None:
    scene.adapter(model_id, made)
    there = Path(resolve_base_model("forge-tiny", Settings()).location)
    mute = shutil.copytree(there, scene.storage("mute"))
    (mute / "tokenizer.json").unlink()
    import aiforge.services.work.export as work

    known = work.resolve_base_model

    def found(name: str, settings: Settings) -> Any:
        from dataclasses import replace

        return replace(known(name, settings), location=str(mute))

    patch.setattr(work, "resolve_base_model", found)


def _wrong_template(scene: Scene, model_id: str, made: Path, patch: pytest.MonkeyPatch) -> None:
    scene.adapter(model_id, made)
    marked = vocabulary.marked_template
    patch.setattr(
        vocabulary, "marked_template", lambda text: marked(text.replace("im_start", "im_end"))
    )


Plant = Callable[[Scene, str, Path, pytest.MonkeyPatch], None]

IN_THE_MODEL: dict[str, tuple[Plant, str, str]] = {
    "NaN weight": (_not_a_number, "weights_not_finite", "holds NaN or infinite values"),
    "adapter of another base": (_another_base, "adapter_mismatch", "that it was trained on"),
    "missing tokenizer": (_no_tokenizer, "base_model_unreadable", "tokenizer"),
    "wrong chat template": (_wrong_template, "parity_failed", "is not the model: chat template"),
}


@pytest.mark.parametrize("fault", IN_THE_MODEL)
def test_a_model_that_is_not_sound_is_never_a_file(
    fault: str, scene: Scene, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, code, said = IN_THE_MODEL[fault]
    platform, state = scene.platform, scene.platform.state
    second = platform.train()
    plant(scene, second, tiny_adapter, monkeypatch)
    job_id = state.call_sync(models.get, second).job_id
    begun = platform.api.post(f"/models/{second}/deploy?wait=0").json()

    run = state.call_sync(runs.start, platform.waiting_export().id)
    export_id = run.resource_id
    assert Driver(platform.services.settings, run.id, 1, state=state).join(120)
    deployment = wait_for(lambda: state.call_sync(runs.ended, begun["runId"]))

    failed = platform.api.get(f"/jobs/{job_id}/exports/{export_id}").json()
    assert (failed["status"], failed["errorCode"]) == ("failed", code)
    assert said in failed["error"]
    # What waits for the file is told why there is none.
    assert deployment.error_code == "model_not_exported"
    assert failed["error"].rstrip(".") in (deployment.error or "")
    file = platform.api.get(f"/jobs/{job_id}/exports/{export_id}/file")
    assert (file.status_code, file.json()["detail"]["code"]) == (409, "export_not_completed")
    assert platform.services.storage.names(f"exports/{export_id}") == []
    still_active(scene)


# Faults in the file, on its way, and in the server.


@dataclass(frozen=True)
class Told:
    """What goes wrong, and what a deployment then says."""

    status: int
    code: str
    said: str
    faults: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[Path], None] | None = None
    crowd: bool = False


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


ON_THE_WAY = {
    "damaged GGUF at rest": Told(500, "export_damaged", "another content", spoil=_flip),
    "truncated GGUF at rest": Told(500, "export_damaged", "another content", spoil=_cut),
    "truncated blob on the server": Told(
        503, "ollama_failed", "invalid file", {"truncate_blobs": True}
    ),
    "server dies half-way through the upload": Told(
        503, "ollama_interrupted", "went away", {"die_half_way": True}
    ),
    "server dies between create and verify": Told(
        503, "ollama_interrupted", "went away", {"die_after": "/api/create"}
    ),
    "disk full at the server": Told(503, "ollama_disk_full", "is full", {"disk_full": True}),
    "template replaced by the server": Told(
        409, "template_replaced", "Export the model again", {"replace_all_templates": True}
    ),
    "error inside a 200": Told(
        503, "ollama_failed", "something went wrong", {"error_in_200": {"/api/create"}}
    ),
    "another client creates at the same time": Told(
        503, "ollama_failed", "no such file", crowd=True
    ),
}


@pytest.mark.parametrize("fault", ON_THE_WAY)
def test_a_failed_deployment_says_why_and_can_be_repeated(fault: str, scene: Scene) -> None:
    told, platform = ON_THE_WAY[fault], scene.platform
    second = platform.train()
    platform.export(second)
    path = scene.file(second)
    sound = path.read_bytes()
    if told.spoil:
        told.spoil(path)
    for name, value in told.faults.items():
        setattr(scene.double.faults, name, value)
    other = scene.double.create({"model": "x", "files": {"a": "0"}, "parameters": {"stop": []}})
    if told.crowd:
        next(other)

    failed = platform.post(second, "deploy")
    scene.heal()
    other.close()

    body = failed.json()
    assert (failed.status_code, body["detail"]["code"]) == (told.status, told.code), body
    assert told.said in body["message"]
    assert ("retry-after" in failed.headers) == (told.status == 503)
    model = platform.api.get(f"/models/{second}").json()
    assert (model["status"], model["errorCode"]) == ("failed", told.code)
    still_active(scene)

    # What was wrong is put right, as the message says; the same deployment succeeds.
    path.write_bytes(sound)
    scene.double.path_of(f"sha256:{_digest(sound)}").unlink(missing_ok=True)
    again = platform.post(second, "deploy")
    assert again.status_code == 200, again.text
    still_active(scene)
    assert platform.api.delete(f"/models/{second}").status_code == 200


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_deployments_at_once_take_turns(scene: Scene) -> None:
    platform = scene.platform
    ids = [platform.train(project) for project in ("left", "right", PROJECT)]
    for model_id in ids:
        platform.export(model_id)
    scene.double.calls.clear()

    begun = [platform.api.post(f"/models/{one}/deploy?wait=0").json() for one in ids]
    ended = [
        wait_for(lambda run_id=run["runId"]: platform.state.call_sync(runs.ended, run_id))
        for run in begun
    ]

    assert [(run.status, run.error) for run in ended] == [("completed", None)] * 3
    assert scene.double.calls.count("POST /api/create") == 3
    still_active(scene)
