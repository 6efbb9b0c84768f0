"""What is written is the model, in every family and type; and what is not is never called good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from wide_models import Export, make_adapter, make_wide

from aiforge.errors import Failure
from aiforge.export import exporter, gguf_file, parity, vocabulary
from aiforge.modeling.bases import BaseModel, resolve_base_model
from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.llama_cpp import GgufModel, Sampling
from aiforge.modeling.load import load_model, load_tokenizer
from aiforge.modeling.publish import load_adapter
from aiforge.settings import Settings

pytest.importorskip("llama_cpp")

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text"]
QUANTIZED = ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s", "q3_k_m", "q2_k"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_computes_the_same_in_llama_cpp(
    family: str, tmp_path: Path, export: Export, workspace: Path
) -> None:
    untied = {"tie_word_embeddings": False} if family in ("mistral", "phi3") else {}
    report = export(make_wide(tmp_path / family, family, **untied), "f32")
    checks = {check.name: check for check in report.checks}
    assert {"token ids", "chat template", "logits", "divergence", "greedy tokens"} == set(checks)
    assert checks["logits"].measured < 1e-3
    assert [file.name for file in report.files] == ["model.gguf"]


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
        {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    ],
    ids=lambda scaling: scaling["rope_type"],
)
def test_scaled_rotary_embeddings_survive(
    scaling: dict[str, Any], tmp_path: Path, export: Export
) -> None:
    export(make_wide(tmp_path / "scaled", rope_parameters=scaling), "f32")


def test_longrope_survives(tmp_path: Path, export: Export) -> None:
    scaling = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0 + i / 50 for i in range(32)],
        "long_factor": [1.0 + i / 5 for i in range(32)],
    }
    base = make_wide(
        tmp_path / "long",
        "phi3",
        rope_parameters=scaling,
        max_position_embeddings=2048,
        original_max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    export(base, "f32")


@pytest.mark.parametrize("quantization", ["f16", "bf16", *QUANTIZED])
def test_forge_tiny_can_be_had_in_every_type(
    quantization: str, export: Export, workspace: Path
) -> None:
    report = export(resolve_base_model("forge-tiny", Settings()), quantization)
    assert report.stop_tokens == ["<|im_end|>"]
    assert report.notes == []
    stored = {
        tensor.tensor_type.name for tensor in gguf.GGUFReader(workspace / "model.gguf").tensors
    }
    wanted = quantization.upper().removesuffix("_M").removesuffix("_S")
    assert wanted in stored
    assert {path.name for path in workspace.iterdir()} == {"model.gguf", "parity.json"}


def test_an_adapter_is_merged_on_its_base(
    wide: BaseModel, tmp_path: Path, export: Export, workspace: Path
) -> None:
    adapter = make_adapter(wide, tmp_path / "adapter")
    export(wide, "f32", adapter=adapter)
    tuned = load_model(wide)
    base_logits, ids = None, load_tokenizer(wide)("def area(width, height):")["input_ids"]
    with torch.no_grad():
        base_logits = tuned(torch.tensor([ids])).logits[0].numpy()
        load_adapter(tuned, adapter)
        expected = tuned(torch.tensor([ids])).logits[0].numpy()
    with GgufModel(workspace / "model.gguf", context_length=64, exact=True, threads=1) as model:
        found = model.logits(ids)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(base_logits - expected).max() > 1e-2


def test_merged_safetensors_are_what_transformers_merges(
    wide: BaseModel, tmp_path: Path, export: Export, workspace: Path
) -> None:
    adapter = make_adapter(wide, tmp_path / "adapter")
    export(wide, "f32", adapter=adapter, format="safetensors")
    merged = BaseModel("merged", str(workspace))
    tuned = load_model(wide)
    load_adapter(tuned, adapter)
    ids = torch.tensor([load_tokenizer(merged)("return width * height")["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(load_model(merged)(ids).logits, tuned(ids).logits, atol=1e-5)


def test_an_adapter_leaves_as_it_was_published(
    wide: BaseModel, tmp_path: Path, export: Export, workspace: Path
) -> None:
    adapter = make_adapter(wide, tmp_path / "adapter")
    report = export(wide, adapter=adapter, format="peft")
    assert report.main == "adapter_model.safetensors"
    for file in report.files:
        assert (workspace / file.name).read_bytes() == (adapter / file.name).read_bytes()


def test_rows_that_no_k_quant_fits_are_reported(tmp_path: Path, export: Export) -> None:
    base = make_wide(tmp_path / "odd", intermediate_size=160)
    notes = export(base, "q4_k_m").notes
    assert notes
    assert all("rows of 160" in note and "multiple of 256" in note for note in notes)


def test_what_float16_cannot_hold_is_quantized_from_float32(tmp_path: Path, export: Export) -> None:
    base = _with(make_wide(tmp_path / "huge"), "model.layers.0.mlp.up_proj.weight", 1e5)
    with pytest.raises(Failure, match="export as bf16 or f32") as refused:
        export(base, "f16")
    assert refused.value.code == "weights_overflow"


def test_the_file_answers_and_its_template_is_marked(export: Export, workspace: Path) -> None:
    base = resolve_base_model("forge-tiny", Settings())
    export(base, "q8_0")
    template = load_tokenizer(base).chat_template
    with GgufModel(workspace / "model.gguf", context_length=128, threads=1) as model:
        assert model.chat_template == vocabulary.TEMPLATE_MARK + template
        prompt = model.tokenize("def add(a, b):\n")
        *pieces, last = model.generate(prompt, max_tokens=12)
        assert (last.finish, last.tokens) == ("length", 12)
        text = "".join(piece.text for piece in [*pieces, last])
        assert text == model.detokenize(model.greedy(prompt, 12))
        stopped = list(model.generate(prompt, max_tokens=12, stop=[text[4:7]]))
        assert stopped[-1].finish == "stop"
        assert "".join(piece.text for piece in stopped) == text[: text.index(text[4:7])]
        warm = Sampling(temperature=1.0, seed=7)
        once, again = (
            [piece.text for piece in model.generate(prompt, max_tokens=8, sampling=warm)]
            for _ in range(2)
        )
        assert once == again


def test_the_mark_is_longer_than_ollamas_distance_and_renders_to_nothing() -> None:
    assert len(vocabulary.TEMPLATE_MARK) > 100
    tokenizer = load_tokenizer(resolve_base_model("forge-tiny", Settings()))
    conversation = [{"role": "user", "content": "a"}]
    for template in [*read_catalog().chat_templates.values(), "\n\nnew {{ messages[0].content }}"]:
        rendered = [
            tokenizer.apply_chat_template(conversation, tokenize=False, chat_template=text)
            for text in (template, vocabulary.marked_template(template))
        ]
        assert rendered[0] == rendered[1]


# What is planted, and what must come of it.


def _with(base: BaseModel, name: str, value: float) -> BaseModel:
    path = Path(base.location) / "model.safetensors"
    tensors = load_file(path)
    tensors[name][3, 5] = value
    save_file(tensors, path, metadata={"format": "pt"})
    return base


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_by_name(
    value: float, tmp_path: Path, export: Export, workspace: Path
) -> None:
    base = _with(make_wide(tmp_path / "nan"), "model.layers.1.self_attn.q_proj.weight", value)
    with pytest.raises(Failure, match=r"layers\.1\.self_attn\.q_proj") as refused:
        export(base)
    assert refused.value.code == "weights_not_finite"
    assert not (workspace / "parity.json").exists()


def test_a_truncated_shard_is_refused(tmp_path: Path, export: Export) -> None:
    base = make_wide(tmp_path / "short")
    shard = Path(base.location) / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(Failure) as refused:
        export(base)
    assert refused.value.code == "base_model_unreadable"


def test_a_missing_tokenizer_is_refused(tmp_path: Path, export: Export) -> None:
    base = make_wide(tmp_path / "mute")
    (Path(base.location) / "tokenizer.json").unlink()
    with pytest.raises(Failure, match="tokenizer") as refused:
        export(base)
    assert refused.value.code == "base_model_unreadable"


def test_an_adapter_of_another_base_is_refused(
    wide: BaseModel, tmp_path: Path, export: Export
) -> None:
    other = make_wide(tmp_path / "other", intermediate_size=768)
    with pytest.raises(Failure, match="trained on") as refused:
        export(wide, adapter=make_adapter(other, tmp_path / "adapter"))
    assert refused.value.code == "adapter_mismatch"


def test_a_full_disk_is_noticed_before_anything_is_written(
    wide: BaseModel, export: Export, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = exporter.shutil.disk_usage(workspace)._replace(free=1 << 20)
    monkeypatch.setattr(exporter.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Failure, match="are needed") as refused:
        export(wide)
    assert refused.value.code == "disk_full"
    assert not any(workspace.iterdir())


def _truncating(path: Path, *rest: Any, **options: Any) -> None:
    gguf_file.write_gguf(path, *rest, **options)
    path.write_bytes(path.read_bytes()[:-4096])


def test_a_truncated_file_does_not_load(
    wide: BaseModel, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "write_gguf", _truncating)
    with pytest.raises(Failure) as refused:
        export(wide)
    assert refused.value.code == "gguf_unreadable"


def _shifted_template(template: str) -> str:
    return template.replace("<|im_start|>", "<|im_end|>")


def _wrong_rope(declared: dict[str, Any]) -> dict[str, Any]:
    return declared | {"rope_parameters": {"rope_type": "default", "rope_theta": 20_000.0}}


def _no_shift(rows: torch.Tensor, head: int) -> torch.Tensor:
    return rows


Plant = Callable[[pytest.MonkeyPatch], None]


def _plant_template(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vocabulary, "marked_template", _shifted_template)


def _plant_permutation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gguf_file, "_halves_to_pairs", _no_shift)


def _plant_rope(patch: pytest.MonkeyPatch) -> None:
    written = gguf_file.write_gguf

    def wrong(path: Path, weights: Any, config: Any, *rest: Any, **options: Any) -> None:
        written(path, weights, _wrong_rope(dict(config)), *rest, **options)

    patch.setattr(exporter, "write_gguf", wrong)


def _plant_pre_tokenizer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vocabulary, "tokenizer_kind", lambda declared: ("gpt2", "qwen2"))


def _plant_quantization(patch: pytest.MonkeyPatch) -> None:
    real = exporter.gguf_quantize.quantize

    def wrong(source: Path, target: Path, file_type: str, **options: Any) -> None:
        real(source, target, file_type, **options)
        reader = gguf.GGUFReader(target, "r+")
        tensor = max(reader.tensors, key=lambda tensor: tensor.n_bytes)
        tensor.data[:] = np.roll(tensor.data, 1, axis=0)
        reader.data.flush()

    patch.setattr(exporter.gguf_quantize, "quantize", wrong)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_plant_template, "chat template"),
        (_plant_permutation, "logits"),
        (_plant_rope, "logits"),
        (_plant_pre_tokenizer, "token ids"),
        (_plant_quantization, "divergence|rounding"),
    ],
)
def test_a_file_that_is_not_the_model_is_a_failed_export(
    plant: Plant, said: str, export: Export, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(Failure, match=f"not the model: .*({said})") as refused:
        export(resolve_base_model("forge-tiny", Settings()), "q8_0")
    assert refused.value.code == "parity_failed"
    assert not (workspace / "parity.json").exists()


def test_a_bound_that_is_not_a_number_is_no_bound() -> None:
    found = parity.Probe([[0, 1]], [1], [np.full((2, 4), np.nan, np.float32)])
    checks = parity.check_logits(found, [np.zeros((2, 4), np.float32)], "f16")
    assert not any(check.passed for check in checks if check.name != "greedy tokens")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"type": "Unigram"}}, "Unigram"),
        ({"model": {"type": "BPE"}, "normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
    ],
)
def test_a_tokenizer_that_llama_cpp_lacks_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        vocabulary.tokenizer_kind(change)
    assert refused.value.code == "tokenizer_not_exportable"


def test_the_report_is_kept_beside_the_file(
    wide: BaseModel, export: Export, workspace: Path
) -> None:
    report = export(wide, "q4_k_m")
    assert json.loads((workspace / "parity.json").read_text()) == json.loads(
        json.dumps(report.to_dict())
    )
    assert all(check.passed for check in report.checks)
    assert set(report.seconds) >= {"writing", "comparing with transformers", "quantizing"}
