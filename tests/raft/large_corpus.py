"""A corpus too large for memory, built under a bound: run by hand.

    python tests/raft/large_corpus.py [--megabytes 2000] [--limit-megabytes 6000] [--workers 2]

The corpus is Python's standard library in many variations, each with names of its own. The build
runs on a cluster of this machine; what is summed up is the proportional memory (PSS) of every
process of it, the object store among them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from aiforge.modeling.bases import resolve_base_model, tokenizer_json
from aiforge.raft.planning import SnapshotRef
from aiforge.schemas.datasets import RaftConfig
from aiforge.settings import Settings
from aiforge.sources.snapshot import FILES, blob_id
from aiforge.storage import Storage

_BLOCK = 1 << 20
_NAME = re.compile(r"[a-z]{5,}")
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so")


def write_corpus(storage: Storage, megabytes: int) -> SnapshotRef:
    """A snapshot of about so many megabytes."""
    directory = "sources/src-large/snapshots/r1"
    storage.filesystem.create_dir(storage.full(directory))
    names: list[str] = []
    rows: list[dict[str, object]] = []
    size = written = 0
    for path, text in _variations():
        data = text.encode()
        rows.append(
            {
                "path": path,
                "content": text,
                "size": len(data),
                "language": "python",
                "blob": blob_id(data),
                "license": None,
            }
        )
        size += len(data)
        if size >= _BLOCK:
            names.append(f"files-{len(names):05d}.parquet")
            table = pa.Table.from_pylist(rows, FILES)
            pq.write_table(table, f"{storage.full(directory)}/{names[-1]}", compression="zstd")
            written, size, rows = written + size, 0, []
            if written >= megabytes << 20:
                break
    manifest = {"revision": "r1", "commit": None, "files": names, "skipped": {}}
    storage.write_json(f"{directory}/manifest.json", manifest)
    print(f"{written / 1e6:.0f} MB in {len(names)} blocks")
    return SnapshotRef("src-large", directory)


def _variations() -> Iterator[tuple[str, str]]:
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    for number in range(10_000):
        names: dict[str, str] = {}

        def renamed(
            match: re.Match[str], number: int = number, names: dict[str, str] = names
        ) -> str:
            word = match[0]
            if word not in names:
                digest = hashlib.sha256(f"{number} {word}".encode()).digest()
                ending = "".join(_SYLLABLES[byte % len(_SYLLABLES)] for byte in digest[:2])
                names[word] = word + ending if digest[2] % 3 else word
            return names[word]

        for path in files:
            text = path.read_text(encoding="utf-8", errors="ignore")
            varied = _NAME.sub(renamed, text) if number else text
            yield f"v{number:03d}/{path.relative_to(root)}", varied


class Watch(threading.Thread):
    """The most memory that this process and its descendants took together, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        own = psutil.Process()
        while not self.done.wait(3):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except (psutil.Error, FileNotFoundError):
                    continue
            self.peak = max(self.peak, total)


def main() -> int:
    """Build, and compare the peak with the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--limit-megabytes", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--directory", default=None, help="where the storage lies; kept if given")
    options = parser.parse_args()
    import ray

    from aiforge.raft.ray_build import build_dataset

    with tempfile.TemporaryDirectory() as temporary:
        storage = Storage(options.directory or temporary)
        snapshot = write_corpus(storage, options.megabytes)
        watch = Watch()
        watch.start()
        ray.init(
            num_cpus=options.workers,
            object_store_memory=1 << 30,
            include_dashboard=False,
            log_to_driver=False,
        )
        start = time.monotonic()
        seen = ""

        def progress(part: float, stage: str, made: int) -> None:
            nonlocal seen
            word = f"{stage} {int(part * 20) * 5} %"
            if word != seen:
                seen = word
                spent = time.monotonic() - start
                print(f"{spent:6.0f} s  {word}  {watch.peak / 1e6:.0f} MB  {made}", flush=True)

        result = build_dataset(
            storage.uri,
            "ds-large",
            [snapshot],
            config=RaftConfig(chunk_tokens=512, context_tokens=4096, distractors=4),
            max_examples=options.examples,
            format="alpaca",
            tokenizer_json=tokenizer_json(resolve_base_model("forge-tiny", Settings())),
            progress=progress,
        )
        watch.done.set()
        ray.shutdown()
    summary = {
        "megabytes": options.megabytes,
        "workers": options.workers,
        "seconds": round(time.monotonic() - start),
        "chunks": result.chunk_count,
        "examples": result.train_count + result.validation_count,
        "peakMegabytes": round(watch.peak / 1e6),
        "limitMegabytes": options.limit_megabytes,
    }
    print(json.dumps(summary, indent=2))
    return int(watch.peak > options.limit_megabytes * 1e6)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
