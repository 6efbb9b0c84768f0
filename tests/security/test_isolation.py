"""No request makes the platform run code of a model, or read weights that could hold any."""

from __future__ import annotations

import ast
import pickle
from functools import cache
from pathlib import Path

import httpx
import pytest
from served import World, add_dataset, fine_tune_body

import aiforge
from aiforge.errors import AIForgeError
from aiforge.modeling.bases import resolve_base_model
from aiforge.settings import Settings

PACKAGE = Path(aiforge.__file__).parent

LOADERS = {"from_pretrained", "from_config", "load_dataset", "snapshot_download", "hf_hub_download"}
UNSAFE = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("cPickle", "loads"),
    ("marshal", "loads"),
    ("dill", "loads"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("builtins", "eval"),
    ("os", "system"),
}


@cache
def calls() -> list[tuple[Path, ast.Call]]:
    """Every call in the package's source."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [(path, node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert len(found) > 2000
    return found


def name_of(call: ast.Call) -> tuple[str, str]:
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
        case ast.Attribute(attr=name):
            return "", name
        case ast.Name(id=name):
            return "builtins", name
    return "", ""


def test_remote_code_is_off_wherever_something_is_loaded() -> None:
    loaded = 0
    for path, call in calls():
        for keyword in call.keywords:
            if keyword.arg == "trust_remote_code":
                assert isinstance(keyword.value, ast.Constant), path
                assert keyword.value.value is False, (path, call.lineno)
        loaded += name_of(call)[1] in LOADERS
    assert loaded >= 1


def test_nothing_is_unpickled_or_evaluated() -> None:
    for path, call in calls():
        owner, name = name_of(call)
        # A task of Ray is sent what its own driver pickled; nothing of it was stored or came in.
        # The wire unpickles what a process of the platform's own user sent (tests/test_wire.py).
        if not path.name.startswith("ray_") and path != PACKAGE / "wire.py":
            assert (owner, name) not in UNSAFE, (path, call.lineno)
        if (owner, name) == ("torch", "load"):
            flags = {keyword.arg: keyword.value for keyword in call.keywords}
            only = flags.get("weights_only")
            assert isinstance(only, ast.Constant), (path, call.lineno)
            assert only.value is True, (path, call.lineno)
        if owner == "subprocess":
            shell = [keyword for keyword in call.keywords if keyword.arg == "shell"]
            assert not shell, (path, call.lineno)


@pytest.mark.parametrize("key", ["trustRemoteCode", "trust_remote_code", "codeRevision"])
def test_a_request_cannot_ask_for_remote_code(
    api: httpx.Client, world: World, make_repository: object, key: str
) -> None:
    dataset = add_dataset(api, world, make_repository({"a.py": "x = 1\n"}))  # type: ignore[operator]

    answer = api.post("/v1/fine-tune", json=fine_tune_body(dataset, **{key: True}))

    assert (answer.status_code, answer.json()["detail"]["error"]) == (422, "Unknown key")


class Bomb:
    """What runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("it ran",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "consolidated.pth"])
def test_weights_that_could_hold_code_are_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    model = tmp_path / "models" / "evil"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    (model / name).write_bytes(pickle.dumps(Bomb()))
    settings = Settings(home=tmp_path / "home", model_roots=[model.parent])

    with pytest.raises(AIForgeError) as refusal:
        resolve_base_model(str(model), settings)

    assert "safetensors" in refusal.value.message
    assert "it ran" not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["outside", "../outside", "/etc"])
def test_a_base_model_lies_below_the_roots_that_the_operator_names(
    tmp_path: Path, where: str
) -> None:
    roots = tmp_path / "models"
    roots.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (roots / "link").symlink_to(outside)
    settings = Settings(home=tmp_path / "home", model_roots=[roots])

    for place in (str(roots / where), str(roots / "link"), str(outside)):
        with pytest.raises(AIForgeError):
            resolve_base_model(place, settings)
