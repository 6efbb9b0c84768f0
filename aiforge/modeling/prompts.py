"""Dataset rows as chat prompts, and which of their tokens are trained.

The prompt is exactly what a chat client would send at inference: the model's own chat template
with the generation prompt at its end. The completion is what the model must then produce, up to
and including the token that ends its turn. Only the completion is trained.

A row's own text never becomes a control token: source code that mentions ``<|im_end|>`` must
neither end a turn nor move the mask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED = -100
"""Label of a token that is not trained; what torch's cross-entropy ignores."""

MIN_TRAINED = 8
"""A completion that would have to be cut to fewer tokens is not worth an example."""

# No token of a known tokenizer is longer on average; what lies beyond is cut before tokenising.
_MAX_CHARACTERS_PER_TOKEN = 16

_BOUNDARY_CHARACTERS = 64

# A noncharacter: no text has a use for it, so it can stand in for what must stay literal.
_MARK = "\U0010fffe"


@dataclass
class Encoded:
    """One example as tokens.

    ``labels`` holds for each position the id itself where it is trained, else ``IGNORED``;
    ``truncated`` tells that context or completion was shortened to fit.
    """

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False

    @property
    def trained(self) -> int:
        """Number of trained tokens."""
        return sum(label != IGNORED for label in self.labels)


def to_messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """A dataset row (``instruction``, ``input``, ``output``) as chat messages.

    The context stands before the question, so that the question is next to the answer.
    """
    parts = [str(row.get("input") or "").strip(), str(row.get("instruction") or "").strip()]
    return [
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        {"role": "assistant", "content": str(row.get("output") or "").strip()},
    ]


def encode_example(
    tokenizer: PreTrainedTokenizerFast, row: Mapping[str, Any], max_length: int
) -> Encoded | None:
    """Tokens and labels of one example, at most ``max_length`` long.

    What is too long loses the end of its context first; the question is kept whole. Should that
    not be enough, the completion is cut, and then not taught to end there.

    Returns:
        ``None`` where fewer than ``MIN_TRAINED`` tokens of a longer completion would remain, or
        where there is no completion.
    """
    limit = max_length * _MAX_CHARACTERS_PER_TOKEN
    context, output = str(row.get("input") or ""), str(row.get("output") or "")
    shortened = len(context) > limit or len(output) > limit
    parts = {**row, "input": context[:limit], "output": output[:limit]}
    if not parts["output"].strip():
        return None
    prompt, completion = _encode(tokenizer, to_messages(parts))
    if (excess := len(prompt) + len(completion) - max_length) > 0 and parts["input"]:
        shortened = True
        parts["input"] = _shorten(tokenizer, parts["input"], excess)
        prompt, completion = _encode(tokenizer, to_messages(parts))
    room = max_length - len(prompt)
    if room < min(MIN_TRAINED, len(completion)):
        return None
    shortened |= room < len(completion)
    completion = completion[:room]
    return Encoded(prompt + completion, [IGNORED] * len(prompt) + completion, shortened)


def encode_prompt(tokenizer: PreTrainedTokenizerFast, row: Mapping[str, Any]) -> list[int]:
    """Tokens of a row's prompt, ending where the completion begins."""
    literals, messages = _set_aside(tokenizer, to_messages(row))
    prompt = tokenizer.apply_chat_template(
        messages[:-1], tokenize=False, add_generation_prompt=True
    )
    return _ids(tokenizer, str(prompt), literals)


def end_of_turn(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of the token that ends an answer under the chat template."""
    _, completion = _encode(tokenizer, to_messages({"instruction": "a", "output": "b"}))
    return completion[-1]


def describe_example(tokenizer: PreTrainedTokenizerFast, encoded: Encoded) -> str:
    """The example as text, special tokens included, each trained stretch between ⟦ and ⟧."""
    pieces: list[str] = []
    start = 0
    labels = encoded.labels
    for end in range(1, len(labels) + 1):
        if end < len(labels) and (labels[end] == IGNORED) == (labels[start] == IGNORED):
            continue
        text = tokenizer.decode(encoded.input_ids[start:end])
        pieces.append(text if labels[start] == IGNORED else f"⟦{text}⟧")
        start = end
    return "".join(pieces)


def _shorten(tokenizer: PreTrainedTokenizerFast, text: str, excess: int) -> str:
    """The text without at least ``excess`` of its last tokens, cut at a line where one is near."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    # Rendering may tokenise the cut differently; two spare tokens make room for that.
    keep = len(offsets) - excess - 2
    if keep <= 0:
        return ""
    cut = text[: offsets[keep][0]]
    line = cut.rfind("\n")
    return cut[:line] if line > len(cut) // 2 else cut


def _encode(
    tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]
) -> tuple[list[int], list[int]]:
    """Token ids of prompt and completion."""
    literals, messages = _set_aside(tokenizer, messages)
    prompt_text, completion_text = _render(tokenizer, messages)
    prompt = _ids(tokenizer, prompt_text, literals)
    # The completion is tokenised behind the end of the prompt, as some tokenizers put a space in
    # front of a text. Should they merge across the boundary, it is tokenised by itself, since
    # inference tokenises the prompt by itself. The prompt's end suffices to tell: tokenising is
    # local, and half of the time is saved.
    end = prompt_text[-_BOUNDARY_CHARACTERS:]
    before = _ids(tokenizer, end, literals)
    both = _ids(tokenizer, end + completion_text, literals)
    if both[: len(before)] == before:
        completion = both[len(before) :]
    else:
        completion = _ids(tokenizer, completion_text, literals)
    return prompt, _end_turn(tokenizer, completion)


def _set_aside(
    tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]
) -> tuple[list[str], list[dict[str, str]]]:
    """Replace control tokens that the messages spell out by marks, and return what they replace."""
    pattern, _ = _control_tokens(tokenizer)
    literals: list[str] = []

    def mark(found: re.Match[str]) -> str:
        literals.append(found[0])
        return f"{_MARK}{len(literals) - 1}{_MARK}"

    def clean(content: str) -> str:
        return pattern.sub(mark, content.replace(_MARK, ""))

    return literals, [{**message, "content": clean(message["content"])} for message in messages]


def _ids(tokenizer: PreTrainedTokenizerFast, text: str, literals: list[str]) -> list[int]:
    """Token ids of a rendered text, with what was set aside as ordinary text in its place."""
    ids: list[int] = []
    for index, piece in enumerate(re.split(f"{_MARK}([0-9]+){_MARK}", text)):
        literal = index % 2 == 1
        piece = literals[int(piece)] if literal else piece
        ids += tokenizer(piece, add_special_tokens=False, split_special_tokens=literal)["input_ids"]
    return ids


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[re.Pattern[str], frozenset[int]]:
    """An expression that finds the tokenizer's special tokens in a text, and their ids."""
    tokens = {
        token: int(tokenizer.convert_tokens_to_ids(token)) for token in tokenizer.all_special_tokens
    }
    tokens |= {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), frozenset(tokens.values())


def _render(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> tuple[str, str]:
    """Texts of prompt and completion under the chat template."""
    prompt = str(
        tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    )
    whole = str(tokenizer.apply_chat_template(messages, tokenize=False))
    if whole.startswith(prompt):
        return prompt, whole[len(prompt) :]
    # The template rewrites history once an answer follows; keep the prompt that inference sends
    # and take the end of the turn from what stands behind the answer.
    answer = messages[-1]["content"]
    position = whole.rfind(answer)
    return prompt, answer + (whole[position + len(answer) :] if position >= 0 else "")


def _end_turn(tokenizer: PreTrainedTokenizerFast, completion: list[int]) -> list[int]:
    """The completion up to the last special token, or with the end-of-sequence token behind it."""
    _, special = _control_tokens(tokenizer)
    for position in range(len(completion) - 1, -1, -1):
        if completion[position] in special:
            if not tokenizer.decode(completion[position + 1 :]).strip():
                return completion[: position + 1]
            break
    return [*completion, int(tokenizer.eos_token_id)]
