"""Batched generation gives each prompt what it would get alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import CHATML, make_base, make_model, make_tokenizer

from aiforge.modeling import lora
from aiforge.modeling.generate import (
    Completion,
    Generator,
    Prompt,
    Sampling,
    adapters_off,
    remove_adapters,
    turn_end,
)
from aiforge.modeling.load import load_model

CONTEXT = 256
PROMPTS = [
    Prompt(tuple(range(5, 5 + length)), sample) for length in (3, 17, 40) for sample in (0, 1)
]


@pytest.fixture(params=["llama", "gemma2", "qwen3"])
def generator(request: pytest.FixtureRequest) -> Generator:
    model = make_model(request.param, initializer_range=0.4)
    return Generator(model, make_tokenizer(CHATML), CONTEXT)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_gives_what_each_prompt_gives_alone(
    generator: Generator, temperature: float
) -> None:
    sampling = Sampling(max_new_tokens=12, temperature=temperature, seed=3)

    together = generator.complete(PROMPTS, sampling)
    alone = [generator.complete([prompt], sampling)[0] for prompt in reversed(PROMPTS)]

    assert together == alone[::-1]
    assert all(one.tokens <= 12 for one in together)


def test_samples_differ_and_repeat_by_their_seed(generator: Generator) -> None:
    prompts = [Prompt((5, 6, 7), sample) for sample in range(4)]

    def texts(seed: int, temperature: float = 20.0) -> list[str]:
        sampling = Sampling(max_new_tokens=16, temperature=temperature, seed=seed)
        return [one.text for one in generator.complete(prompts, sampling)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert len(set(texts(1))) > 1
    assert len(set(texts(1, temperature=0.0))) == 1


def test_samples_follow_the_distribution() -> None:
    model = make_model()
    generator = Generator(model, make_tokenizer(CHATML), CONTEXT)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[40] = 0.2
    prompts = [Prompt((9, 9), sample) for sample in range(400)]
    with torch.inference_mode():
        logits = model(torch.tensor([[9, 9]])).logits[0, -1]
    expected = float(logits.softmax(-1)[40])

    drawn = generator.complete(prompts, Sampling(max_new_tokens=1, temperature=1.0))

    token = generator.tokenizer.decode([40])
    share = sum(one.text == token for one in drawn) / len(drawn)
    assert share == pytest.approx(expected, abs=0.08)


def test_a_stop_text_ends_a_completion_and_is_no_part_of_it(generator: Generator) -> None:
    prompt = [Prompt((30, 31, 32))]
    whole = generator.complete(prompt, Sampling(max_new_tokens=30))[0]
    stop = whole.text[len(whole.text) // 2 :][:3]

    cut = generator.complete(prompt, Sampling(max_new_tokens=30, stop=(stop,)))[0]

    assert stop not in cut.text
    assert whole.text.startswith(cut.text)
    assert cut.finished


def test_the_end_of_a_turn_ends_a_completion() -> None:
    model, tokenizer = make_model(tie_word_embeddings=False), make_tokenizer(CHATML)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        hidden = model.model(torch.tensor([[5, 6]])).last_hidden_state[0, -1]
        head.zero_()
        head[end] = hidden

    done = Generator(model, tokenizer, CONTEXT).complete(
        [Prompt((5, 6))], Sampling(max_new_tokens=9)
    )

    assert turn_end(tokenizer) == end
    assert done == [Completion("", 0, True)]


def test_a_prompt_that_is_too_long_keeps_its_end(generator: Generator) -> None:
    ids = generator.chat({"instruction": "word " * 2000 + "the end"}, "It begins")

    assert len(ids) < CONTEXT
    assert generator.tokenizer.decode(ids).endswith(
        "the end<|im_end|>\n<|im_start|>assistant\nIt begins"
    )
    assert generator.complete([Prompt(ids)], Sampling(max_new_tokens=500))[0].tokens <= CONTEXT // 8


def test_batches_hold_every_prompt_once(generator: Generator) -> None:
    prompts = [Prompt((5,) * (1 + 37 * n % 90)) for n in range(60)]

    batches = list(generator.batches(prompts, Sampling(max_new_tokens=900)))

    assert sorted(position for batch in batches for position in batch) == list(range(60))
    assert len(batches) > 5
    lengths = [len(prompts[position].ids) for batch in batches for position in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_what_a_step_raises_stops_the_work(generator: Generator) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.complete(PROMPTS, Sampling(), on_token=stop)


@pytest.fixture
def adapted(tmp_path: Path) -> torch.nn.Module:
    model = load_model(make_base(tmp_path / "base"))
    for adapter in lora.inject(model, rank=4, alpha=8).values():
        torch.nn.init.normal_(adapter.lora_B, std=0.5)
    return model


def test_adapters_are_switched_off_and_on_without_a_second_base(
    adapted: torch.nn.Module, tmp_path: Path
) -> None:
    ids = torch.tensor([[5, 6, 7]])
    plain = load_model(make_base(tmp_path / "base"))

    def logits(model: torch.nn.Module) -> torch.Tensor:
        with torch.inference_mode():
            return model(ids).logits

    tuned = logits(adapted)
    with adapters_off(adapted):
        assert torch.equal(logits(adapted), logits(plain))
    assert torch.equal(logits(adapted), tuned)
    assert not torch.equal(tuned, logits(plain))

    remove_adapters(adapted)

    assert torch.equal(logits(adapted), logits(plain))
    assert not list(lora.adapters_of(adapted))
