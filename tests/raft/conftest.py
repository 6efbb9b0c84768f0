"""A tokenizer trained on the spot, snapshots, and builds in one process."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Run, Write
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import aiforge
from aiforge.raft.build import Build, BuildResult, SnapshotRef
from aiforge.raft.stages import map_here
from aiforge.raft.tokens import TokenCounter
from aiforge.schemas.datasets import RaftConfig
from aiforge.storage import Storage

FILES = pa.schema(
    [
        ("path", pa.string()),
        ("content", pa.string()),
        ("size", pa.int64()),
        ("language", pa.string()),
        ("blob", pa.string()),
        ("license", pa.string()),
    ]
)


def _sources() -> list[str]:
    package = Path(aiforge.__file__).parent
    return [path.read_text() for path in sorted(package.glob("*.py"))]


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    """A byte-level BPE with 2,048 entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sources(), trainer)
    return str(tokenizer.to_str())


@pytest.fixture(scope="session")
def counter(tokenizer_json: str) -> TokenCounter:
    return TokenCounter(tokenizer_json)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def write_snapshot(storage: Storage) -> Write:
    """A function that writes a snapshot of the given files in the format of ``sources``."""
    from aiforge.languages import language_of
    from aiforge.sources.snapshot import blob_id

    def write(
        files: dict[str, str], source_id: str = "src-1", revision: str = "r1", block: int = 5
    ) -> SnapshotRef:
        directory = f"sources/{source_id}/snapshots/{revision}"
        rows = [
            {
                "path": path,
                "content": text,
                "size": len(text),
                "language": language_of(path, text),
                "blob": blob_id(text.encode()),
                "license": "MIT",
            }
            for path, text in sorted(files.items())
        ]
        names = []
        storage.filesystem.create_dir(storage.full(directory))
        for start in range(0, len(rows), block):
            names.append(f"files-{len(names):05d}.parquet")
            table = pa.Table.from_pylist(rows[start : start + block], FILES)
            pq.write_table(table, f"{storage.full(directory)}/{names[-1]}")
        manifest = {"revision": revision, "commit": "c0ffee", "files": names, "skipped": {}}
        storage.write_json(f"{directory}/manifest.json", manifest)
        return SnapshotRef(source_id, directory)

    return write


@pytest.fixture
def run_build(storage: Storage, tokenizer_json: str) -> Run:
    """A function that builds a dataset of snapshots in this process."""

    def run(
        *snapshots: SnapshotRef,
        dataset_id: str = "ds-1",
        max_examples: int = 1000,
        **options: object,
    ) -> BuildResult:
        config = RaftConfig(**({"validation_fraction": 0.25} | options))  # type: ignore[arg-type]
        return Build(
            storage,
            dataset_id,
            snapshots,
            config,
            max_examples,
            "alpaca",
            tokenizer_json,
            map_here,
            lambda _fraction, _stage, _made: None,
        ).run()

    return run
