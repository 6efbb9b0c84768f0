"""Which base model a name means, and what is refused, with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiforge.errors import Failure, InvalidInput
from aiforge.modeling.bases import (
    FORGE_TINY,
    BaseModel,
    content_hash,
    context_length,
    resolve_base_model,
    tokenizer_json,
)
from aiforge.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AIFORGE_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()


@pytest.fixture
def roots(tmp_path: Path) -> Settings:
    (tmp_path / "models").mkdir()
    return Settings(model_roots=[tmp_path / "models"])


def write_model(directory: Path, config: object = None, weights: str = "model.safetensors") -> Path:
    """A directory that looks like a model, without weights that could be loaded."""
    directory.mkdir(parents=True)
    config = {"model_type": "llama"} if config is None else config
    (directory / "config.json").write_text(json.dumps(config))
    (directory / weights).write_bytes(b"weights")
    (directory / "tokenizer.json").write_text("{}")
    return directory


def refusal(name: str, known: Settings) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        resolve_base_model(name, known)
    assert caught.value.code == "unknown_base_model"
    assert caught.value.detail["field"] == "baseModel"
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", ["mine", "team/mine"])
def test_a_directory_below_a_root_is_found_by_its_relative_name(name: str, roots: Settings) -> None:
    directory = write_model(roots.model_roots[0] / name)

    assert resolve_base_model(name, roots) == BaseModel(name, str(directory))
    assert resolve_base_model(str(directory), roots).location == str(directory)


def test_an_alias_is_served_from_a_root_that_holds_its_hub_id(roots: Settings) -> None:
    directory = write_model(roots.model_roots[0] / "Qwen" / "Qwen3-4B", {"model_type": "qwen3"})

    base = resolve_base_model("qwen3-4b", roots)

    assert base.location == str(directory)
    assert "<think>" in (base.chat_template or "")


def test_forge_tiny_lies_in_the_package(roots: Settings) -> None:
    base = resolve_base_model(FORGE_TINY, roots)

    assert len(content_hash(base)) == 64
    assert context_length(base) >= 512
    assert "vocab" in tokenizer_json(base)


@pytest.mark.parametrize(
    "name",
    ["../secret", "team/../../secret", "/etc", "/", ".", "./", "a\0b", "x" * 5000, "-rf", "a//b"],
)
def test_no_name_leads_out_of_the_roots(name: str, roots: Settings, tmp_path: Path) -> None:
    write_model(tmp_path / "secret")

    assert refusal(name, roots).detail["reason"] == "not_found"


def test_a_link_out_of_a_root_is_not_followed(roots: Settings, tmp_path: Path) -> None:
    write_model(tmp_path / "secret")
    (roots.model_roots[0] / "link").symlink_to(tmp_path / "secret")

    assert refusal("link", roots).detail["reason"] == "not_found"


def test_a_refusal_does_not_tell_whether_a_path_outside_exists(
    roots: Settings, tmp_path: Path
) -> None:
    there = write_model(tmp_path / "secret")
    absent = tmp_path / "absent"

    messages = {
        refusal(str(path), roots).message.replace(path.name, "…") for path in (there, absent)
    }

    assert len(messages) == 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.text(max_size=40).filter(lambda name: name != FORGE_TINY))
def test_any_text_is_refused_in_one_line(name: str, roots: Settings) -> None:
    refusal(name, roots)


def test_a_near_miss_is_told(roots: Settings) -> None:
    assert "'Llama-3.2-3B'" in refusal("llama-3.2-3", roots).message


@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        ({"model_type": "t5"}, "unsupported_architecture", "t5"),
        (
            {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]},
            "unsupported_architecture",
            "LlamaForSequenceClassification",
        ),
        (
            {"model_type": "llama", "quantization_config": {"bits": 4}},
            "unsupported_architecture",
            "quantized",
        ),
        ({"model_type": ["llama"], "architectures": 3}, "unsupported_architecture", "families"),
        ([], "not_a_model", "config.json"),
    ],
)
def test_an_unsupported_model_is_refused(
    config: object, reason: str, words: str, roots: Settings
) -> None:
    write_model(roots.model_roots[0] / "odd", config)

    error = refusal("odd", roots)

    assert error.detail["reason"] == reason
    assert words in error.message


def test_pickled_weights_are_refused_with_the_remedy(roots: Settings) -> None:
    write_model(roots.model_roots[0] / "old", weights="pytorch_model.bin")

    assert "save_pretrained" in refusal("old", roots).message


def test_a_missing_tokenizer_is_told(roots: Settings) -> None:
    (write_model(roots.model_roots[0] / "mute") / "tokenizer.json").unlink()

    assert refusal("mute", roots).detail["reason"] == "no_tokenizer"


def test_without_a_hub_an_alias_is_refused_quickly_with_the_remedy(roots: Settings) -> None:
    start = time.monotonic()

    error = refusal("Llama-3.2-3B", roots)

    assert time.monotonic() - start < 2
    assert error.detail["reason"] == "hub_unreachable"
    assert "AIFORGE_MODEL_ROOTS" in error.message


def test_the_content_hash_follows_content_alone(tmp_path: Path) -> None:
    one, other, different = (write_model(tmp_path / name) for name in ("a", "b", "c"))
    (different / "model.safetensors").write_bytes(b"others")

    hashes = [content_hash(BaseModel("x", str(path))) for path in (one, other, different)]

    assert hashes[0] == hashes[1] != hashes[2]


def test_the_content_hash_notices_a_change_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = BaseModel("x", str(write_model(tmp_path / "x")))
    before = content_hash(base)
    (tmp_path / "x" / "model.safetensors").write_bytes(b"other weights")
    after = content_hash(base)
    opened: list[Path] = []
    real_open = Path.open

    def spy(path: Path, *args: object, **kwargs: object) -> object:
        opened.append(path)
        return real_open(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", spy)

    assert content_hash(base) == after != before
    assert not [path for path in opened if path.suffix == ".safetensors"]


def test_a_directory_without_weights_has_no_hash(tmp_path: Path) -> None:
    (write_model(tmp_path / "x") / "model.safetensors").unlink()

    with pytest.raises(Failure, match="safetensors"):
        content_hash(BaseModel("x", str(tmp_path / "x")))


@pytest.mark.parametrize("shard", ["../outside.safetensors", "absent.safetensors", "", 3])
def test_an_index_that_names_a_shard_that_is_not_beside_it_is_refused(
    shard: object, roots: Settings
) -> None:
    directory = write_model(roots.model_roots[0] / "x", weights="model-1.safetensors")
    (roots.model_roots[0] / "outside.safetensors").write_bytes(b"secret")
    index = {"weight_map": {"a": "model-1.safetensors", "b": shard}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))

    assert "index" in refusal("x", roots).message
    with pytest.raises(Failure, match="index"):
        content_hash(BaseModel("x", str(directory)))


def test_resolving_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from aiforge.modeling.bases import resolve_base_model;"
        "from aiforge.settings import Settings\n"
        "try: resolve_base_model('owner/name', Settings())\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print({'torch', 'transformers', 'ray'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[:2] == ["InvalidInput", "set()"]
