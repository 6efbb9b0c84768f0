"""A dataset as packed rows: what is stored, under which address, and when it is refused."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from aiforge.errors import InvalidInput
from aiforge.modeling import bases
from aiforge.modeling.bases import BaseModel
from aiforge.storage import Storage, packed_dir
from aiforge.training.plan import TrainPlan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ALGORITHM = 1
"""Counted up when the same dataset would give other rows."""

COLUMNS = ["instruction", "input", "output"]
SPLITS = ("train", "validation")
MIN_TRAINED_SHARE = 0.002


@dataclass(frozen=True)
class PackStats:
    """What became of the examples of one file or split."""

    examples: int = 0
    dropped: int = 0
    truncated: int = 0
    rows: int = 0
    tokens: int = 0
    trained: int = 0
    first: str | None = None

    def __add__(self, other: PackStats) -> PackStats:
        return PackStats(
            self.examples + other.examples,
            self.dropped + other.dropped,
            self.truncated + other.truncated,
            self.rows + other.rows,
            self.tokens + other.tokens,
            self.trained + other.trained,
            self.first if self.first is not None else other.first,
        )


@dataclass(frozen=True)
class Prepared:
    """Packed rows of a dataset; ``path`` holds a directory for each split."""

    key: str
    path: str
    train: PackStats
    validation: PackStats


def pack_key(storage: Storage, plan: TrainPlan) -> str:
    """Address of the rows: they depend on the dataset, the tokenizer, its template, the length."""
    digest = hashlib.sha256()
    facts = [ALGORITHM, plan.max_length, plan.base.chat_template, plan.dataset_path]
    digest.update(json.dumps(facts).encode())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        digest.update(_optional_file(plan.base, name))
    for file in dataset_files(storage, plan.dataset_path):
        digest.update(f"{file}:{storage.size(f'{plan.dataset_path}/{file}')}".encode())
        digest.update(hashlib.sha256(storage.read_bytes(f"{plan.dataset_path}/{file}")).digest())
    return digest.hexdigest()[:32]


def dataset_files(storage: Storage, dataset_path: str) -> list[str]:
    """Parquet files of a dataset as ``<split>/<name>``."""
    return [
        f"{split}/{name}"
        for split in SPLITS
        for name in storage.names(f"{dataset_path}/{split}")
        if name.endswith(".parquet")
    ]


def pack_file(storage: Storage, plan: TrainPlan, key: str, file: str) -> PackStats:
    """Tokenise and pack one file of a dataset, and store the rows under the same name.

    Repeating it does no harm: the same file gives the same bytes.
    """
    from aiforge.modeling.prompts import describe_example, encode_example
    from aiforge.training.data import document, pack, to_table

    tokenizer = _tokenizer(plan.base)
    examples = _read(storage, f"{plan.dataset_path}/{file}")
    encoded = [encode_example(tokenizer, example, plan.max_length) for example in examples]
    kept = [item for item in encoded if item is not None]
    rows = pack([document(item.input_ids, item.labels) for item in kept], plan.max_length)
    if rows:
        buffer = io.BytesIO()
        pq.write_table(to_table(rows), buffer, compression="zstd")
        storage.write_bytes(f"{packed_dir(key)}/{file}", buffer.getvalue())
    return PackStats(
        examples=len(encoded),
        dropped=len(encoded) - len(kept),
        truncated=sum(item.truncated for item in kept),
        rows=len(rows),
        tokens=sum(len(item.input_ids) for item in kept),
        trained=sum(item.trained for item in kept),
        first=describe_example(tokenizer, kept[0]) if kept else None,
    )


def find_prepared(storage: Storage, key: str) -> Prepared | None:
    """Rows that were prepared before; ``None`` where they are not there as a whole."""
    path = _manifest(key)
    if not storage.exists(path):
        return None
    found = storage.read_json(path)
    splits = {split: PackStats(**found[split]) for split in SPLITS}
    return Prepared(key, packed_dir(key), **splits)


def finish(storage: Storage, key: str, stats: Iterable[tuple[str, PackStats]]) -> Prepared:
    """Declare the stored rows to be the whole.

    Args:
        stats: File names as ``dataset_files`` gives them, with what became of each file.
    """
    totals = dict.fromkeys(SPLITS, PackStats())
    for file, found in sorted(stats, key=lambda item: item[0]):
        split = file.partition("/")[0]
        totals[split] = totals[split] + found
    storage.write_json(_manifest(key), {split: asdict(total) for split, total in totals.items()})
    return Prepared(key, packed_dir(key), **totals)


def check(prepared: Prepared) -> None:
    """Refuse rows from which nothing can be learned.

    Raises:
        InvalidInput: There is no example, or next to no token would be trained.
    """
    train = prepared.train
    if train.rows == 0:
        raise InvalidInput(
            f"The dataset has no example that can be trained on ({train.dropped} of "
            f"{train.examples} were dropped for want of an answer or of room). "
            "Generate a dataset with examples, or raise maxSeqLength.",
            code="dataset_empty",
            field="datasetId",
        )
    share = train.trained / train.tokens
    if share < MIN_TRAINED_SHARE:
        raise InvalidInput(
            f"Only {share:.2%} of the dataset's tokens would be trained: the answers are "
            "nearly empty. Generate the dataset again with a smaller context.",
            code="nothing_to_train",
            field="datasetId",
        )


def describe(prepared: Prepared, max_length: int) -> str:
    """One line about the rows, for the log."""
    train, validation = prepared.train, prepared.validation
    fill = train.tokens / (train.rows * max_length)
    return (
        f"{train.examples - train.dropped} examples ({train.dropped} dropped, {train.truncated} "
        f"truncated) in {train.rows} rows of at most {max_length} tokens, {fill:.0%} full; "
        f"{train.tokens} tokens, {train.trained / train.tokens:.1%} of them trained; "
        f"{validation.rows} rows for validation"
    )


@cache
def _tokenizer(base: BaseModel) -> PreTrainedTokenizerFast:
    from aiforge.modeling.load import load_tokenizer

    return load_tokenizer(base)


def _read(storage: Storage, path: str) -> list[Mapping[str, Any]]:
    with storage.open_input(path) as stream:
        rows: list[Mapping[str, Any]] = pq.read_table(stream, columns=COLUMNS).to_pylist()
    return rows


def _optional_file(base: BaseModel, name: str) -> bytes:
    path = bases.local_directory(base) / name
    return path.read_bytes() if path.is_file() else b""


def _manifest(key: str) -> str:
    return f"{packed_dir(key)}/manifest.json"
