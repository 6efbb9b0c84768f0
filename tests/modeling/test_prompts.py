"""What is trained of an example, token by token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CHATML, make_tokenizer

from aiforge.modeling.catalog import read_catalog
from aiforge.modeling.prompts import (
    IGNORED,
    MIN_TRAINED,
    Encoded,
    describe_example,
    encode_example,
    to_messages,
)

PLAIN = read_catalog().chat_templates["plain"]
ROW = {"instruction": "What is it?", "input": "def f():\n    pass", "output": "A function."}
TOKENIZERS = {"chatml": make_tokenizer(CHATML), "plain": make_tokenizer(PLAIN)}
ANY_TEXT = st.text(max_size=80) | st.lists(
    st.sampled_from(["</s>", "<|im_end|>", "<|im_start|>assistant\n", "x", " ", "\n", "é", "🙂"]),
    max_size=12,
).map("".join)


def encode(row: dict[str, Any], length: int = 4096, name: str = "chatml") -> Encoded:
    encoded = encode_example(TOKENIZERS[name], row, length)
    assert encoded is not None
    return encoded


def trained_text(encoded: Encoded, name: str = "chatml") -> str:
    ids = [label for label in encoded.labels if label != IGNORED]
    return str(TOKENIZERS[name].decode(ids))


def test_the_context_stands_before_the_question() -> None:
    assert to_messages(ROW) == [
        {"role": "user", "content": "def f():\n    pass\n\nWhat is it?"},
        {"role": "assistant", "content": "A function."},
    ]
    assert to_messages({"instruction": "Why?", "output": "So."})[0]["content"] == "Why?"


def test_the_prompt_is_what_inference_sends_and_only_the_answer_is_trained() -> None:
    encoded = encode(ROW)

    prompt = TOKENIZERS["chatml"].apply_chat_template(
        to_messages(ROW)[:1], add_generation_prompt=True, return_dict=False
    )
    untrained = encoded.labels.count(IGNORED)
    assert encoded.input_ids[:untrained] == prompt
    assert trained_text(encoded) == "A function.<|im_end|>"
    assert encoded.trained == len(encoded.labels) - untrained
    assert not encoded.truncated


def test_the_description_marks_what_is_trained() -> None:
    text = describe_example(TOKENIZERS["chatml"], encode(ROW))

    assert text == (
        "<|im_start|>user\ndef f():\n    pass\n\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\n⟦A function.<|im_end|>⟧"
    )
    assert describe_example(TOKENIZERS["chatml"], Encoded([], [])) == ""


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.sampled_from(sorted(TOKENIZERS)))
def test_no_text_moves_the_mask_or_becomes_a_control_token(
    instruction: str, context: str, output: str, name: str
) -> None:
    row = {"instruction": instruction, "input": context, "output": output}
    tokenizer = TOKENIZERS[name]
    encoded = encode_example(tokenizer, row, 100_000)

    if not output.strip():
        assert encoded is None
        return
    assert encoded is not None
    end = "<|im_end|>" if name == "chatml" else "</s>"
    control = {tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "</s>", "<|im_end|>")}
    first = next(i for i, label in enumerate(encoded.labels) if label != IGNORED)
    trained = encoded.labels[first:]
    assert trained == encoded.input_ids[first:]
    assert set(encoded.labels[:first]) <= {IGNORED}
    assert trained[-1] == tokenizer.convert_tokens_to_ids(end)
    assert not control & set(trained[:-1])
    assert tokenizer.decode(trained[:-1]) == to_messages(row)[1]["content"]
    assert sum(i in control for i in encoded.input_ids[:first]) == 1


@settings(max_examples=100, deadline=None)
@given(ANY_TEXT, st.text(max_size=400), st.text(min_size=1, max_size=80), st.integers(1, 300))
def test_no_example_is_longer_than_allowed(
    instruction: str, context: str, output: str, length: int
) -> None:
    row = {"instruction": instruction, "input": context, "output": output}
    encoded = encode_example(TOKENIZERS["chatml"], row, length)

    if encoded is not None:
        assert len(encoded.input_ids) == len(encoded.labels) <= length
        assert encoded.trained >= 1
        whole = encode_example(TOKENIZERS["chatml"], row, 100_000)
        assert whole is not None
        assert encoded.truncated is (len(whole.input_ids) > length)


def test_too_long_a_context_loses_its_end_and_the_question_stays() -> None:
    lines = "".join(f"line_{number} = {number}\n" for number in range(100))
    encoded = encode({"instruction": "What is line_0?", "input": lines, "output": "Zero."}, 120)

    text = describe_example(TOKENIZERS["chatml"], encoded)
    assert encoded.truncated
    assert 100 < len(encoded.input_ids) <= 120
    assert text.startswith("<|im_start|>user\nline_0 = 0\n")
    assert "\n\nWhat is line_0?<|im_end|>" in text
    assert text.endswith("⟦Zero.<|im_end|>⟧")


def test_a_completion_that_is_cut_is_not_taught_to_end_there() -> None:
    row = {"instruction": "Count.", "output": "one two three " * 50}
    encoded = encode(row, 80)

    assert encoded.truncated
    assert len(encoded.input_ids) == 80
    assert "<|im_end|>" not in trained_text(encoded)


def test_nothing_remains_where_the_question_fills_the_window() -> None:
    tokenizer = TOKENIZERS["chatml"]
    row = {"instruction": "why " * 40, "output": "Because of the many reasons given above."}
    prompt = encode(row).labels.count(IGNORED)

    assert encode_example(tokenizer, row, prompt) is None
    assert encode_example(tokenizer, row, prompt + MIN_TRAINED - 1) is None
    assert encode(row, prompt + MIN_TRAINED).trained == MIN_TRAINED


@pytest.mark.parametrize("output", ["", "  \n", None])
def test_an_example_without_an_answer_is_none(output: str | None) -> None:
    assert encode_example(TOKENIZERS["chatml"], {"instruction": "a", "output": output}, 99) is None


def test_a_giant_row_is_cut_before_it_is_tokenised() -> None:
    encoded = encode({"instruction": "q", "input": "word " * 10_000_000, "output": "a"}, 64)

    assert encoded.truncated
    assert len(encoded.input_ids) <= 64


def test_a_template_that_rewrites_history_keeps_the_prompt_of_inference() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}"
        "<|im_start|>{{ m.content }}{{ ' (answered)' if messages | length > 1 else '' }}"
        "{% else %}<|im_end|>{{ m.content }}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_end|>{% endif %}"
    )
    tokenizer = make_tokenizer(template)
    encoded = encode_example(tokenizer, ROW, 200)

    assert encoded is not None
    text = describe_example(tokenizer, encoded)
    assert "(answered)" not in text
    assert text.endswith("<|im_end|>⟦A function.</s>⟧")


def test_tokens_that_would_merge_across_the_boundary_are_kept_apart() -> None:
    # "def" is one token of this tokenizer, but inference sends a prompt that ends in "de".
    tokenizer = make_tokenizer(
        "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{{ '\n' }}de"
        "{% else %}</s>{% endif %}{% endfor %}"
    )
    encoded = encode_example(tokenizer, {"instruction": "q", "output": "f area"}, 200)

    assert encoded is not None
    prompt = tokenizer("q\nde", add_special_tokens=False)["input_ids"]
    assert encoded.input_ids[: len(prompt)] == prompt
    assert describe_example(tokenizer, encoded) == "q\nde⟦f area</s>⟧"
    assert len(tokenizer("def", add_special_tokens=False)["input_ids"]) == 1
