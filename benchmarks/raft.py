"""RAFT datasets: speed of the whole path, whole functions, honest distractors, rebuilds, workers.

The corpus is Python's standard library as it is installed. Peers, in the same run: the splitters
of langchain, which the reference implementation of RAFT builds upon, and of synthetic-data-kit,
fixed slices of characters, and the two ways in which peers choose distractors, by chance (the
reference implementation) and plain BM25; synthetic-data-kit chooses none.

    python benchmarks/raft.py [--quick] [--json PATH]
"""

from __future__ import annotations

import random
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import raft_scale
from common import Goal, Report, arguments
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tree_sitter import Node

from aiforge.languages import parse
from aiforge.raft.chunking import split_file
from aiforge.raft.distractors import Corpus
from aiforge.raft.drafting import balanced, draft_questions
from aiforge.raft.questions import Unanswerable, render
from aiforge.raft.stages import Block, chunk_file
from aiforge.raft.tokens import TokenCounter, token_counter
from aiforge.schemas.datasets import RaftConfig
from aiforge.sources.sync import SyncResult, sync_local
from aiforge.storage import Storage

CONFIG = RaftConfig(chunk_tokens=512, context_tokens=4096, distractors=4)
_EXAMPLES = 10_000
Bounds = list[tuple[int, int]]


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__)
    root = Path(sysconfig.get_path("stdlib")).resolve()
    include = (
        ["/json/", "/email/", "/asyncio/", "/test/test_[a-e]*.py"] if options.quick else ["*.py"]
    )
    report = Report("RAFT, Python's standard library")
    with tempfile.TemporaryDirectory() as directory:
        storage = Storage(directory)
        start = time.process_time()
        synced = sync_local(
            storage, "src-1", str(root), include=include, exclude=["*.txt"], allowed_roots=[root]
        )
        report.add(
            "read into a snapshot",
            synced.file_count / (time.process_time() - start),
            "files/CPU-s",
        )
        texts = _texts(storage, synced)
        tokenizer_json = _tokenizer(texts)
        examples = 1500 if options.quick else _EXAMPLES
        _warm_up(storage, root, tokenizer_json)
        cold = _whole_path(report, storage, synced, tokenizer_json, examples)
        report.add("whole path: peak memory", raft_scale.peak_memory(), "MiB")
        given = (CONFIG, tokenizer_json, examples)
        raft_scale.rebuild(report, storage, synced.snapshot, *given, cold)
        sample = random.Random(0).sample(texts, min(len(texts), 150 if options.quick else 600))
        _whole_functions(report, sample, token_counter(tokenizer_json))
        _false_negatives(report, sample, token_counter(tokenizer_json))
        raft_scale.teacher(report, sample, tokenizer_json, options.quick)
        whole = sync_local(
            storage, "src-1", str(root), include=["*.py"], exclude=["*.txt"], allowed_roots=[root]
        )
        snapshots = (synced.snapshot, whole.snapshot)
        raft_scale.workers(report, storage, snapshots, CONFIG, tokenizer_json, _EXAMPLES)
    report.finish(options.json)


def _warm_up(storage: Storage, root: Path, tokenizer_json: str) -> None:
    """A build of a few files, so that no figure holds what a process does but once."""
    some = sync_local(
        storage, "src-0", str(root), include=["/json/"], exclude=["*.txt"], allowed_roots=[root]
    )
    raft_scale.build_here(storage, some.snapshot, CONFIG, tokenizer_json, 50)
    raft_scale.forget(storage)


def _whole_path(
    report: Report, storage: Storage, synced: SyncResult, tokenizer_json: str, examples: int
) -> float:
    """One cold build in this process, which is warm; returns its CPU seconds."""
    result, seconds = raft_scale.build_here(
        storage, synced.snapshot, CONFIG, tokenizer_json, examples
    )
    made = result.train_count + result.validation_count
    megabytes = sum(len(text.encode()) for text in _texts(storage, synced)) / 1e6
    report.add("corpus", synced.file_count, "files")
    report.add("corpus", megabytes, "MB")
    report.add("whole path", synced.file_count / seconds, "files/CPU-s", goal=Goal(">=", 120))
    report.add("whole path", megabytes / seconds, "MB/CPU-s")
    report.add("whole path", result.chunk_count / seconds, "chunks/CPU-s")
    report.add("whole path", made / seconds, "examples/CPU-s", goal=Goal(">=", 550))
    report.add("quality", result.quality or 0.0, "")
    return seconds


def _whole_functions(report: Report, texts: Sequence[str], counter: TokenCounter) -> None:
    """Share of the functions that fit into a chunk which no splitter cuts."""
    characters = round(CONFIG.chunk_tokens * _characters_per_token(texts, counter))
    ours, seconds = _timed(lambda text: _own_chunks(text, counter), texts)
    whole = _share_whole(texts, ours, counter)
    peers: dict[str, Callable[[str], Bounds]] = {
        "fixed slices": lambda text: [
            (start, start + characters) for start in range(0, len(text), characters)
        ]
    }
    if langchain := _langchain(characters):
        peers["langchain"] = langchain
    else:
        print("No row for langchain: pip install langchain-text-splitters")
    if kit := _synthetic_data_kit(characters):
        peers["synthetic-data-kit"] = kit
    else:
        print("No row for synthetic-data-kit: pip install --no-deps synthetic-data-kit")
    for name, splitter in peers.items():
        theirs, their_seconds = _timed(splitter, texts)
        report.add(
            "functions kept whole",
            100 * whole,
            "%",
            peer=name,
            peer_value=100 * _share_whole(texts, theirs, counter),
            better="higher",
            goal=Goal(">=", 99.9),
        )
        report.add(
            "parsing and splitting",
            len(texts) / seconds,
            "files/CPU-s",
            peer=name,
            peer_value=len(texts) / their_seconds,
            better="higher",
        )


def _false_negatives(report: Report, texts: Sequence[str], counter: TokenCounter) -> None:
    """Share of distractors that hold the answer themselves."""
    block = Block("", "src-1", "", frozenset(), len(texts))
    chunks = [
        chunk
        for number, text in enumerate(texts)
        for chunk in chunk_file(
            {
                "path": f"{number}.py",
                "content": text,
                "language": "python",
                "blob": "",
                "license": "",
            },
            block,
            counter,
            CONFIG.chunk_tokens,
        )
    ]
    corpus = Corpus.of(chunks)
    drafts, _ = draft_questions(chunks, corpus.clusters, seed=0)
    rng = random.Random(0)
    count = CONFIG.distractors
    found = {"ours": 0, "plain BM25": 0, "by chance": 0}
    total = 0
    for draft in list(balanced(drafts, seed=0))[:1000]:
        try:
            rendered = render(draft, chunks[draft.chunk], seed=0)
        except Unanswerable:
            continue
        scores = corpus.scores(f"{rendered.question} {' '.join(rendered.quotes)}")
        ranked = [int(i) for i in np.argsort(-scores)[: count + 1] if i != draft.chunk]
        picks = {
            "ours": corpus.pick(draft.chunk, rendered, count, rng).chunks,
            "plain BM25": ranked[:count],
            "by chance": [rng.randrange(len(chunks)) for _ in range(count)],
        }
        total += count
        for name, picked in picks.items():
            for index in picked:
                text = corpus.normal_text(index)
                same = corpus.clusters[index] == corpus.clusters[draft.chunk]
                found[name] += same or any(needle in text for needle in rendered.needles)
    for name in ("plain BM25", "by chance"):
        report.add(
            "distractors with the answer",
            100 * found["ours"] / total,
            "%",
            peer=name,
            peer_value=100 * found[name] / total,
            goal=Goal("<=", 0),
        )


def _texts(storage: Storage, synced: SyncResult) -> list[str]:
    directory = Path(storage.full(synced.snapshot))
    tables = [
        pq.read_table(path, columns=["content"]) for path in directory.glob("files-*.parquet")
    ]
    return [text for table in tables for text in table.column("content").to_pylist()]


def _tokenizer(texts: Sequence[str]) -> str:
    """A byte-level BPE of 4,096 entries, the size of the shipped base model's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts[:200], trainer)
    return str(tokenizer.to_str())


def _characters_per_token(texts: Sequence[str], counter: TokenCounter) -> float:
    some = texts[:50]
    return sum(map(len, some)) / sum(counter.exact(some))


def _own_chunks(text: str, counter: TokenCounter) -> Bounds:
    spans = split_file(text, "python", parse("python", text.encode()), counter, CONFIG.chunk_tokens)
    return [(span.start, span.end) for span in spans]


def _langchain(characters: int) -> Callable[[str], Bounds] | None:
    try:
        from langchain_text_splitters import Language, RecursiveCharacterTextSplitter
    except ImportError:
        return None
    splitter = RecursiveCharacterTextSplitter.from_language(
        Language.PYTHON, chunk_size=characters, chunk_overlap=0, strip_whitespace=False
    )

    def split(text: str) -> Bounds:
        ends, position = [], 0
        for part in splitter.split_text(text):
            ends.append((position, position + len(part)))
            position += len(part)
        return ends

    return split


def _synthetic_data_kit(characters: int) -> Callable[[str], Bounds] | None:
    try:
        from synthetic_data_kit.utils.text import split_into_chunks
    except ImportError:
        return None

    def split(text: str) -> Bounds:
        found, position = [], 0
        for part in split_into_chunks(text, chunk_size=characters):
            # Chunks may begin with the last sentences of the one before.
            start = text.find(part, max(0, position - len(part)))
            if start >= 0:
                found.append((start, start + len(part)))
                position = start + len(part)
        return found

    return split


def _timed(splitter: Callable[[str], Bounds], texts: Sequence[str]) -> tuple[list[Bounds], float]:
    start = time.process_time()
    found = [splitter(text) for text in texts]
    return found, max(time.process_time() - start, 1e-9)


def _share_whole(texts: Sequence[str], chunks: Sequence[Bounds], counter: TokenCounter) -> float:
    fitting = whole = 0
    for text, bounds in zip(texts, chunks, strict=True):
        if not text.isascii():
            continue  # there bytes and characters, in which peers count, are not the same
        tree = parse("python", text.encode())
        functions = list(_functions(tree.root_node)) if tree else []
        starts = [text.rfind("\n", 0, node.start_byte) + 1 for node in functions]
        sizes = counter.exact(
            [text[s : node.end_byte] for s, node in zip(starts, functions, strict=True)]
        )
        for node, size in zip(functions, sizes, strict=True):
            if size <= CONFIG.chunk_tokens:
                fitting += 1
                whole += any(s <= node.start_byte and node.end_byte <= e for s, e in bounds)
    return whole / max(1, fitting)


def _functions(root: Node) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        pending.extend(node.children)
        if node.type == "function_definition":
            yield node


if __name__ == "__main__":
    main()
