"""Base, candidate and active model side by side, on the same material."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import Measures
from aiforge.storage import Storage

if TYPE_CHECKING:
    from aiforge.evaluation.suite import Material
    from aiforge.evaluation.validate import Models
    from aiforge.modeling.bases import BaseModel

COLUMNS = ["instruction", "input", "output"]

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Subject:
    """A model to measure; ``adapter`` is a directory relative to the storage, ``None`` the base."""

    role: str
    base: BaseModel
    adapter: str | None = None


@dataclass(frozen=True)
class Compared:
    """Figures by role."""

    metrics: dict[str, ValidationMetrics]


@dataclass(frozen=True)
class Comparison:
    """What is measured, and where; picklable, and without torch until it runs.

    Attributes:
        subjects: In the order in which they are measured; those of one base share its weights.
        rows_path: Directory of Parquet files of held-out rows, relative to the storage.
        exam_path: File of the exam, relative to the storage; it need not be there.
        max_length: Window of perplexity in tokens; capped by the model's context.
    """

    subjects: tuple[Subject, ...]
    storage_uri: str
    rows_path: str
    exam_path: str
    max_length: int
    measures: Measures
    humaneval: str

    def run(self, progress: Progress) -> Compared:
        """Measure every subject.

        Args:
            progress: Called with the share done and the stage; what it raises stops the work.

        Raises:
            AIForgeError: A model cannot be loaded.
        """
        from aiforge.evaluation.validate import Models

        storage = Storage(self.storage_uri)
        material = self._material(storage)
        metrics: dict[str, ValidationMetrics] = {}
        models: Models | None = None
        with tempfile.TemporaryDirectory() as workspace:
            for number, subject in enumerate(self.subjects):
                if models is None or models.base != subject.base:
                    models = Models(subject.base)

                def report(
                    share: float, what: str, done: int = number, of: str = subject.role
                ) -> None:
                    progress((done + share) / len(self.subjects), f"measuring {what} of {of}")

                local = Path(workspace) / subject.role
                if subject.adapter is not None:
                    storage.download(subject.adapter, local)
                directory = local if subject.adapter is not None else None
                metrics[subject.role] = self._measure(
                    models, subject, directory, material, storage, report
                )
        return Compared(metrics)

    def _measure(
        self,
        models: Models,
        subject: Subject,
        directory: Path | None,
        material: Material,
        storage: Storage,
        report: Progress,
    ) -> ValidationMetrics:
        from aiforge.evaluation.suite import Suite
        from aiforge.evaluation.validate import dtype
        from aiforge.modeling.bases import content_hash, context_length
        from aiforge.modeling.load import load_tokenizer

        identity: dict[str, Any] = {
            "base": content_hash(subject.base),
            "template": subject.base.chat_template,
            "adapter": subject.adapter,
            "dtype": str(dtype()),
        }
        suite = Suite(
            models.get(directory),
            load_tokenizer(subject.base),
            context_length(subject.base),
            identity,
            material,
            self.measures,
            storage,
            report,
        )
        return suite.run()

    def _material(self, storage: Storage) -> Material:
        from aiforge.evaluation import exam
        from aiforge.evaluation.suite import Material
        from aiforge.modeling.bases import context_length

        rows = read_rows(storage, self.rows_path)
        has_exam = storage.exists(self.exam_path)
        items = exam.load(storage.read_bytes(self.exam_path)) if has_exam else []
        window = min(self.max_length, *(context_length(one.base) for one in self.subjects))
        return Material(rows, items, self.humaneval, window)


def read_rows(storage: Storage, path: str) -> list[dict[str, Any]]:
    """The rows of a directory of Parquet files, the columns that a prompt is made of."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for name in storage.names(path):
        if name.endswith(".parquet"):
            stream = storage.open_input(f"{path}/{name}")
            rows += pq.read_table(stream, columns=COLUMNS).to_pylist()
    return rows
