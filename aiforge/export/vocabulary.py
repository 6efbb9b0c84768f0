"""A fast tokenizer as the keys of a GGUF: tokens, merges, pre-tokenizer, special tokens, template.

llama.cpp knows pre-tokenizers by name and has their expressions built in, so the expression in
``tokenizer.json`` is looked up among those; none is guessed from the name of a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gguf

from aiforge.errors import Failure, InvalidInput
from aiforge.modeling.prompts import end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE_MARK = (
    "{# This is the template that the model was trained with, kept as it is. The comment in front "
    "of it tells it apart from templates that look alike, so that no server puts its own version "
    "in its place. #}"
)
"""Ollama replaces a template whose edit distance to one that it knows is at most 100."""

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SPACE = "▁"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

PRE_TOKENIZERS: Mapping[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((r"\p{N}", _GPT2), False): "smollm",
    ((rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}",), True): "llama-bpe",
    ((rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}",), False): "smaug-bpe",
    ((rf"{_WORDS}|\p{{N}}|{_REST}",), False): "qwen2",
    ((rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_CASED_REST}",), True): "tekken",
    (
        (rf"{_CASED[0]}{_SUFFIX}|{_CASED[1]}{_SUFFIX}|\p{{N}}{{1,3}}|{_CASED_REST}",),
        False,
    ): "gpt-4o",
}
"""llama.cpp's name by the expressions, and by whether a word of the vocabulary is left whole."""

_SPLIT_MARKS = frozenset({"tekken", "gpt-4o"})
"""Those whose built-in expression has no combining marks where the tokenizer's own has."""


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF says about text.

    ``kind`` is ``gpt2`` for byte-level BPE and ``llama`` for SentencePiece's. ``stop_tokens`` are
    the texts that end an answer. ``is_composed`` says that the tokenizer composes characters
    (NFC) first, which llama.cpp does not; ``splits_marks`` that llama.cpp's expression takes
    combining marks for no part of a word, which the tokenizer's own does.
    """

    kind: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]
    special: dict[str, int]
    add_bos: bool
    add_eos: bool
    add_space: bool
    chat_template: str
    stop_tokens: list[str]
    is_composed: bool
    splits_marks: bool = False
    strips_right: bool = False

    def write(self, writer: Any) -> None:
        """Add the keys to a file."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.kind == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.add_space)
        for name, token in self.special.items():
            getattr(writer, f"add_{name}_token_id")(token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        writer.add_chat_template(self.chat_template)

    def safe_name(self, name: str) -> str:
        """A name for the file: llama.cpp takes ``phi3`` in it for a tokenizer's peculiarity."""
        plain = re.sub(r"(?i)phi-?3", "phi 3", name)
        return f"phi-3 {plain}" if self.strips_right else plain


def read_vocabulary(tokenizer: PreTrainedTokenizerFast, size: int) -> Vocabulary:
    """What a GGUF says about a tokenizer.

    Args:
        tokenizer: With its chat template.
        size: Rows of the model's embedding; missing tokens are filled up.

    Raises:
        Failure: llama.cpp has no such tokenizer (``tokenizer_not_exportable``).
    """
    declared = json.loads(tokenizer.backend_tokenizer.to_str())
    kind, pre = tokenizer_kind(declared)
    tokens, types = _tokens(tokenizer, declared, size, kind)
    merges = [_pair(merge) for merge in declared["model"]["merges"]]
    special = _special(tokenizer)
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    add_bos = len(framed) > len(plain) and framed[0] == special.get("bos")
    add_eos = len(framed) > len(plain) and framed[-1] == special.get("eos")
    if len(framed) != len(plain) + add_bos + add_eos:
        raise _refusal("it puts more around a text than a token for the beginning and the end")
    turn = end_of_turn(tokenizer)
    special.setdefault("eot", turn)
    stops = dict.fromkeys((turn, special["eos"]))
    return Vocabulary(
        kind=kind,
        pre=pre,
        tokens=tokens,
        types=types,
        merges=[f"{left} {right}" for left, right in merges],
        scores=_scores(tokens, merges) if kind == "llama" else [],
        special=special,
        add_bos=add_bos,
        add_eos=add_eos,
        add_space=_adds_space(declared),
        chat_template=marked_template(str(tokenizer.chat_template)),
        stop_tokens=[str(tokenizer.convert_ids_to_tokens(stop)) for stop in stops],
        is_composed=_normalizer_types(declared) == ["NFC"],
        splits_marks=pre in _SPLIT_MARKS,
        strips_right=_strips_right(tokenizer),
    )


def marked_template(template: str) -> str:
    """The template behind ``TEMPLATE_MARK``; it renders the same."""
    # A newline right behind a comment is dropped, so one that matters is written twice.
    return TEMPLATE_MARK + ("\n" if template.startswith("\n") else "") + template


def tokenizer_kind(declared: Mapping[str, Any]) -> tuple[str, str]:
    """llama.cpp's model and pre-tokenizer for what a ``tokenizer.json`` declares.

    Raises:
        Failure: There is none (``tokenizer_not_exportable``).
    """
    model = declared["model"]
    if model.get("type") != "BPE":
        raise _refusal(f"its model is {model.get('type')}, not BPE")
    if any(model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix")):
        raise _refusal("it marks the inside or the end of words")
    if model.get("byte_fallback"):
        return "llama", "default"
    if (_normalizer_types(declared) or ["NFC"]) != ["NFC"]:
        raise _refusal(f"it normalises text by {', '.join(_normalizer_types(declared))}")
    expressions = _expressions(declared)
    pre = PRE_TOKENIZERS.get((expressions, bool(model.get("ignore_merges"))))
    # Only words that are no result of merges differ; the comparison of texts shows whether any is.
    pre = pre or PRE_TOKENIZERS.get((expressions, not model.get("ignore_merges")))
    if pre is None:
        raise _refusal(f"it splits text by {' then '.join(expressions) or 'nothing'}")
    return "gpt2", pre


def require_exportable_tokenizer(tokenizer_json: str) -> None:
    """Refuse a base whose tokenizer llama.cpp does not have, before anyone trains it.

    A file that declares no tokenizer at all passes: loading it says what is wrong with it.

    Raises:
        InvalidInput: With code ``not_exportable`` and ``field="baseModel"``.
    """
    try:
        declared = json.loads(tokenizer_json)
        if not isinstance(declared, dict) or not isinstance(declared.get("model"), dict):
            return
        tokenizer_kind(declared)
    except ValueError:
        return
    except Failure as error:
        raise InvalidInput(
            f"The model could not be exported: {error.message}",
            code="not_exportable",
            field="baseModel",
            error=error.message,
        ) from error


def _expressions(declared: Mapping[str, Any]) -> tuple[str, ...]:
    """The expressions that split a text, in order, written as ``PRE_TOKENIZERS`` writes them."""
    found: list[str] = []
    byte_level = False
    for step in _steps(declared.get("pre_tokenizer"), "pretokenizers"):
        match step.get("type"):
            case "ByteLevel" if not step.get("add_prefix_space"):
                byte_level = True
                if step.get("use_regex", True):
                    found.append(_GPT2)
            case "Digits" if step.get("individual_digits"):
                found.append(r"\p{N}")
            case "Split" if step.get("behavior") == "Isolated" and not step.get("invert"):
                found.append(str(step.get("pattern", {}).get("Regex")))
            case "Split" if step.get("behavior") == "Removed" and step.get("invert"):
                found.append(str(step.get("pattern", {}).get("Regex")))
            case other:
                found.append(f"the step {other}")
    return tuple(found) if byte_level else (*found, "no bytes")


def _steps(declared: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if not declared:
        return []
    return list(declared[key]) if declared.get("type") == "Sequence" else [declared]


def _normalizer_types(declared: Mapping[str, Any]) -> list[str]:
    return [str(step.get("type")) for step in _steps(declared.get("normalizer"), "normalizers")]


def _adds_space(declared: Mapping[str, Any]) -> bool:
    """Whether every stretch of text between control tokens gets a space in front.

    A tokenizer that does so at the very beginning only is exported as one that never does: what a
    chat template renders begins with a control token.
    """
    for step in _steps(declared.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend" and step.get("prepend") == _SPACE:
            return True
    for step in _steps(declared.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            return bool(step.get("prepend_scheme", "always") == "always")
    return False


def _tokens(
    tokenizer: PreTrainedTokenizerFast, declared: Mapping[str, Any], size: int, kind: str
) -> tuple[list[str], list[int]]:
    texts = {int(index): str(text) for text, index in declared["model"]["vocab"].items()}
    added = {int(token["id"]): token for token in declared["added_tokens"]}
    if max([*texts, *added]) >= size:
        raise _refusal(f"it has more tokens than the model's embedding has rows ({size})")
    control = {int(index) for index in tokenizer.all_special_ids}
    unknown = declared["model"].get("unk_token")
    tokens: list[str] = []
    types: list[int] = []
    for index in range(size):
        token = added.get(index)
        text = str(token["content"]) if token else texts.get(index)
        if text is None:
            text, form = f"[PAD{index}]", gguf.TokenType.UNUSED
        elif unknown is not None and text == unknown and kind == "llama":
            form = gguf.TokenType.UNKNOWN
        elif (token and token["special"]) or index in control:
            form = gguf.TokenType.CONTROL
        elif token:
            form = gguf.TokenType.USER_DEFINED
            text = text.replace(_SPACE, " ") if kind == "llama" else text
        elif kind == "llama" and _BYTE.fullmatch(text):
            form = gguf.TokenType.BYTE
        else:
            form = gguf.TokenType.NORMAL
        tokens.append(text)
        types.append(int(form))
    return tokens, types


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _scores(tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> list[float]:
    """A token's score is minus the rank of the first merge that makes it; others come last."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    last = len(merges)
    return [-float(ranks.get(token, last)) for token in tokens]


def _special(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    found = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    return {name: int(token) for name, token in found.items() if token is not None}


def _strips_right(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the spaces behind control tokens are dropped, as Phi-3's first tokenizer does."""
    tokens = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    wanted = {"</s>", "<unk>", "<s>", "<|endoftext|>"}
    return wanted <= tokens.keys() and any(
        token.rstrip for text, token in tokens.items() if text not in wanted
    )


def _refusal(fault: str) -> Failure:
    return Failure(
        f"llama.cpp has no tokenizer like this model's: {fault}. Export as safetensors or peft "
        "instead.",
        code="tokenizer_not_exportable",
    )
