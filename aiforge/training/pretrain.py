"""Train ``forge-tiny``, the base model that ships with the package, from nothing.

``python -m aiforge.training.pretrain`` reads the sources of Python's standard library, trains
tokenizer and model with the platform's own loop in one process, and writes a model directory.
An interrupted run continues from its last checkpoint when it is started again.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from torch import nn

from aiforge.modeling.bases import FORGE_TINY_DIR
from aiforge.schemas.runs import MetricPoint
from aiforge.settings import get_settings
from aiforge.training import attention, card, checkpoint
from aiforge.training.compare import compare
from aiforge.training.data import BatchPlan, PackedRows, Row, document, pack, to_table
from aiforge.training.engine import LocalEngine, adamw
from aiforge.training.loop import Hooks, LoopConfig, evaluate, train
from aiforge.training.loss import CausalLoss
from aiforge.training.muon import Muon
from aiforge.training.schedule import Schedule
from aiforge.training.stdlib_corpus import (
    Corpus,
    SourceText,
    bucket,
    conversations,
    is_test,
    read_corpus,
)
from aiforge.training.tiny_tokenizer import (
    END_OF_TEXT,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    TURN_END,
    TURN_START,
    byte_lengths,
    save_tokenizer,
    train_tokenizer,
)

log = logging.getLogger("aiforge.pretrain")

FIGURES = "figures.json"
FIM_ONE_IN = 12
"""One piece of code in so many is shown as prefix, suffix, middle (arXiv 2207.14255)."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the model becomes, beside the corpus."""

    vocabulary: int = 4096
    hidden: int = 256
    intermediate: int = 768
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    context: int = 2048
    rows_per_step: int = 3
    steps: int = 750
    learning_rate: float = 1.2e-2
    warmup: int = 20
    weight_decay: float = 0.1
    test_share: float = 0.1
    optimizer: str = "muon"
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if not options.compare:
        names = {"steps", "learning_rate", "optimizer", "test_share"}
        chosen = {name: value for name in names if (value := getattr(options, name)) is not None}
        pretrain(Recipe(**chosen), options.out, options.work, options.checkpoint_every)
    path = options.out / FIGURES
    figures = json.loads(path.read_text(encoding="utf-8"))
    figures["comparison"] = compare(options.out)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (options.out / "README.md").write_text(card.render(figures), encoding="utf-8")
    log.info("done: %s", json.dumps(figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aiforge.training.pretrain", description=__doc__
    )
    work = get_settings().home / "cache" / "forge-tiny"
    parser.add_argument("--out", type=Path, default=FORGE_TINY_DIR, help="directory of the model")
    parser.add_argument("--work", type=Path, default=work, help="directory of checkpoints")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train nothing; measure the model in --out against random weights again",
    )
    parser.add_argument("--steps", type=int, help=f"optimizer steps (default {Recipe.steps})")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--optimizer", choices=["muon", "adamw"])
    parser.add_argument("--test-share", type=float, help="share of the library's tests to read")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--checkpoint-every", type=int, default=40, help="steps")
    return parser


def pretrain(
    recipe: Recipe, out: Path, work: Path, checkpoint_every: int, root: Path | None = None
) -> dict[str, Any]:
    """Train and write the model and its card.

    Args:
        recipe: What to train.
        out: Directory of the model.
        work: Directory of the tokenizer, the packed rows and the checkpoint of a run that may be
            interrupted.
        checkpoint_every: Steps between two checkpoints.
        root: Directory of the sources; the standard library's when absent.

    Returns:
        The figures, which also stand beside the model.
    """
    work.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus(root, recipe.test_share)
    tokenizer = _tokenizer(recipe, corpus, work)
    rows = _packed(recipe, corpus, tokenizer, work)
    data = BatchPlan(rows, recipe.seed, recipe.rows_per_step, epochs=_epochs(recipe, rows))
    held_out = PackedRows.of(_plain(tokenizer, corpus.held_out, recipe.context))
    torch.manual_seed(recipe.seed)
    model = build_model(recipe)
    log.info(
        "%d files, %d tokens in %d rows, %d parameters, %d steps",
        len(corpus.train),
        rows.token_count,
        len(rows),
        sum(parameter.numel() for parameter in model.parameters()),
        recipe.steps,
    )
    _run(recipe, model, data, held_out, work, checkpoint_every)
    model = model.half().float()
    nll = evaluate(LocalEngine(CausalLoss(model), lambda named: []), held_out, 1)
    figures = _figures(recipe, model, corpus, tokenizer, rows, held_out, nll)
    _write(model, tokenizer, recipe, out, figures)
    shutil.rmtree(work / "checkpoint", ignore_errors=True)  # the next run is a new one
    return figures


def build_model(recipe: Recipe) -> Any:
    """The architecture with random weights, in fp32, attending by document."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation=attention.register(),
    )
    return LlamaForCausalLM(config)


def _optimizers(recipe: Recipe, named: list[tuple[str, nn.Parameter]]) -> list[Any]:
    betas = (0.9, 0.95)
    if recipe.optimizer == "adamw":
        return [adamw(named, recipe.weight_decay, betas)]
    inner = [p for n, p in named if p.dim() == 2 and "embed" not in n and "head" not in n]
    known = set(inner)
    rest = [(n, p) for n, p in named if p not in known]
    return [Muon(inner, weight_decay=recipe.weight_decay), adamw(rest, 0.0, betas)]


def _run(
    recipe: Recipe,
    model: nn.Module,
    data: BatchPlan,
    held_out: PackedRows,
    work: Path,
    checkpoint_every: int,
) -> None:
    engine = LocalEngine(CausalLoss(model), lambda named: _optimizers(recipe, named))
    meta = {"recipe": asdict(recipe)}
    directory, start = work / "checkpoint", 0
    if checkpoint.find(directory):
        state = checkpoint.load(directory, meta)
        engine.import_state(state.tensors)
        start = state.step
        log.info("continuing after step %d", start)

    def keep(step: int) -> None:
        checkpoint.save(checkpoint.TrainState(step, engine.export_state(), meta), directory)

    def show(point: MetricPoint) -> None:
        if point.step % 10 == 0 or point.eval_loss is not None:
            log.info(
                "step %d loss %.4f lr %.2e norm %.2f tokens/s %.0f held-out %s",
                point.step,
                point.loss,
                point.learning_rate,
                point.grad_norm,
                point.tokens_per_second or 0,
                "-" if point.eval_loss is None else f"{point.eval_loss:.4f}",
            )

    config = LoopConfig(
        Schedule(recipe.learning_rate, recipe.steps, recipe.warmup),
        micro_batch=1,
        checkpoint_every=checkpoint_every,
        eval_every=200,
    )
    sample = PackedRows.of(held_out[:: max(1, len(held_out) // 12)])
    train(engine, data, config, Hooks(show, keep), start=start, validation=sample)


def _epochs(recipe: Recipe, rows: PackedRows) -> int:
    return math.ceil(recipe.steps * recipe.rows_per_step / len(rows))


def _tokenizer(recipe: Recipe, corpus: Corpus, work: Path) -> Tokenizer:
    path = work / "tokenizer.json"
    if not path.exists():
        texts = (source.text for source in corpus.train if not is_test(source.path))
        train_tokenizer(texts, recipe.vocabulary).save(str(path))
    return Tokenizer.from_file(str(path))


def _packed(recipe: Recipe, corpus: Corpus, tokenizer: Tokenizer, work: Path) -> PackedRows:
    path = work / f"rows-{corpus.sha256[:16]}.parquet"
    if not path.exists():
        documents = [
            *_code(tokenizer, corpus.train, recipe.context),
            *_chats(tokenizer, corpus, recipe.context // 2),
        ]
        partial = path.with_suffix(".partial")
        pq.write_table(to_table(pack(documents, recipe.context)), partial)
        partial.replace(path)
    return PackedRows([pq.read_table(path)])


def _code(tokenizer: Tokenizer, sources: list[SourceText], context: int) -> Iterator[Row]:
    """Pieces of files, most of them short because attention costs their length squared."""
    end = _id(tokenizer, END_OF_TEXT)
    for source in sources:
        ids = [*tokenizer.encode(source.text).ids, end]
        length = (context // 4, context // 4, context // 4, context // 2, context)[
            bucket("length:" + source.path, 5)
        ]
        for number, start in enumerate(range(0, len(ids), length)):
            piece = ids[start : start + length]
            key = f"{source.path}:{number}"
            if bucket("fim:" + key, FIM_ONE_IN) == 0 and 32 <= len(piece) < context - 4:
                piece = _fill_in_the_middle(tokenizer, piece, key)
            yield document(piece, piece)


def _id(tokenizer: Tokenizer, token: str) -> int:
    return int(tokenizer.get_vocab()[token])


def _fill_in_the_middle(tokenizer: Tokenizer, ids: list[int], key: str) -> list[int]:
    first, second = sorted(random.Random(key).sample(range(1, len(ids)), 2))
    tokens = (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, END_OF_TEXT)
    prefix, suffix, middle, end = (_id(tokenizer, token) for token in tokens)
    return [
        *(prefix, *ids[:first]),
        *(suffix, *ids[second:]),
        *(middle, *ids[first:second], end),
    ]


def _chats(tokenizer: Tokenizer, corpus: Corpus, longest: int) -> Iterator[Row]:
    for source in corpus.train:
        if is_test(source.path):
            continue
        for messages in conversations(source):
            text = "".join(
                f"{TURN_START}{turn['role']}\n{turn['content']}{TURN_END}\n" for turn in messages
            )
            ids = tokenizer.encode(text).ids
            if len(ids) <= longest:
                yield document(ids, ids)


def _plain(tokenizer: Tokenizer, sources: list[SourceText], context: int) -> list[Row]:
    """Whole files cut every half context, without any other change."""
    length = context // 2
    return [
        document(piece, piece)
        for source in sources
        for ids in [tokenizer.encode(source.text).ids]
        for start in range(0, len(ids), length)
        if len(piece := ids[start : start + length]) > 1
    ]


def _figures(
    recipe: Recipe,
    model: nn.Module,
    corpus: Corpus,
    tokenizer: Tokenizer,
    rows: PackedRows,
    held_out: PackedRows,
    nll: float,
) -> dict[str, Any]:
    lengths = byte_lengths(tokenizer)
    targets = int(held_out.target_counts.sum())
    scored = sum(lengths[token] for row in held_out for token in row.targets[:-1])
    return {
        "python": platform.python_version(),
        "corpus_sha256": corpus.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_files": len(corpus.train),
        "held_out_files": len(corpus.held_out),
        "train_tokens": rows.token_count,
        "seen_tokens": round(rows.token_count * recipe.steps * recipe.rows_per_step / len(rows)),
        "held_out_tokens": targets,
        "held_out_loss": nll,
        "held_out_perplexity": math.exp(nll),
        "held_out_bits_per_byte": nll * targets / math.log(2) / scored,
        "recipe": asdict(recipe),
    }


def _write(
    model: Any, tokenizer: Tokenizer, recipe: Recipe, out: Path, figures: dict[str, Any]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.config._attn_implementation = "sdpa"
    model.half().save_pretrained(out)
    save_tokenizer(tokenizer, out, recipe.context)
    (out / "model.safetensors").chmod(0o644)
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card.render(figures), encoding="utf-8")
    (out / "LICENSE-NOTICE").write_text(card.notice(), encoding="utf-8")


if __name__ == "__main__":
    main()
