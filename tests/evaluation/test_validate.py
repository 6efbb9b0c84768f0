"""Base and tuned model are measured on the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CHATML, make_base, make_tokenizer

from aiforge.errors import Failure
from aiforge.evaluation.perplexity import Perplexity
from aiforge.evaluation.validate import Models, score_rows, scored_bytes
from aiforge.modeling import lora, pissa
from aiforge.modeling.bases import BaseModel, context_length
from aiforge.modeling.load import load_model, load_tokenizer
from aiforge.modeling.prompts import encode_example
from aiforge.modeling.publish import publish_adapter

ROWS: list[dict[str, Any]] = [
    {"instruction": f"What is f{number}?", "input": f"def f{number}(): ...", "output": answer}
    for number, answer in enumerate(["It is a function — naïve.", "The number of shapes.", "No."])
]


def evaluate_adapter(
    base: BaseModel, adapter: Path | None, rows: list[dict[str, Any]], window: int
) -> Perplexity:
    model = Models(base).get(adapter)
    return score_rows(model, load_tokenizer(base), rows, min(window, context_length(base)))


def test_a_tuned_model_is_better_on_what_it_was_trained_on(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    model, tokenizer = load_model(base), load_tokenizer(base)
    adapters = lora.inject(model, rank=8, alpha=8, seed=None)
    spec = pissa.FactorSpec("x", lora.DEFAULT_TARGETS, 8, 8, None, 0, "float32")
    pissa.apply_factors(adapters, pissa.compute_factors(pissa.layer_weights(adapters), spec))
    optimizer = torch.optim.AdamW([p for _, p in lora.trainable_parameters(model)], lr=1e-2)
    for _ in range(12):
        for row in ROWS:
            encoded = encode_example(tokenizer, row, 256)
            assert encoded is not None
            ids, labels = torch.tensor([encoded.input_ids]), torch.tensor([encoded.labels])
            model(ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    adapter = publish_adapter(model, tmp_path / "adapter", base)

    before = evaluate_adapter(base, None, ROWS, 256)
    after = evaluate_adapter(base, adapter, ROWS, 256)

    assert (before.tokens, before.bytes, before.examples) == (after.tokens, after.bytes, 3)
    assert before.perplexity > 100
    assert after.perplexity < before.perplexity * 0.6


def test_the_models_of_a_base_share_its_weights(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    tuned = load_model(base)
    for adapter in lora.inject(tuned, rank=4, alpha=4).values():
        torch.nn.init.normal_(adapter.lora_B, std=0.5)
    published = publish_adapter(tuned, tmp_path / "adapter", base)
    models = Models(base)
    tokenizer = load_tokenizer(base)

    def nll(adapter: Path | None) -> float:
        return score_rows(models.get(adapter), tokenizer, ROWS, 256).nll

    before = nll(None)
    embedding = models.get(None).get_input_embeddings().weight
    changed = nll(published)

    assert changed != pytest.approx(before, rel=1e-3)
    assert nll(None) == before
    assert nll(published) == changed
    assert models.get(None).get_input_embeddings().weight is embedding


def test_a_whole_model_is_measured_in_place_of_the_base(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    model = load_model(base)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    model.save_pretrained(tmp_path / "whole")

    measured = evaluate_adapter(base, tmp_path / "whole", ROWS, 256)

    assert measured.perplexity == pytest.approx(model.config.vocab_size, rel=1e-4)


def test_rows_longer_than_the_window_are_scored_whole(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    rows = [{**ROWS[0], "output": "one two three " * 40}]

    whole = evaluate_adapter(base, None, rows, 100_000)
    strided = evaluate_adapter(base, None, rows, 64)

    assert whole.tokens == strided.tokens > 200
    assert whole.bytes == strided.bytes == len(rows[0]["output"].strip())


def test_rows_without_a_completion_are_counted_as_skipped(tmp_path: Path) -> None:
    base = make_base(tmp_path)

    result = evaluate_adapter(base, None, [*ROWS, {"instruction": "x", "output": " "}], 256)

    assert (result.examples, result.skipped) == (3, 1)
    with pytest.raises(Failure, match="No row"):
        evaluate_adapter(base, None, [{"instruction": "x", "output": ""}], 256)


def test_bytes_are_those_of_the_completion_without_its_control_token() -> None:
    tokenizer = make_tokenizer(CHATML)
    encoded = encode_example(tokenizer, ROWS[0], 256)

    assert encoded is not None
    assert scored_bytes(tokenizer, encoded) == len(ROWS[0]["output"].encode())
