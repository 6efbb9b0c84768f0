"""The curves of a job, as tables."""

from __future__ import annotations

import importlib
from typing import Any

from aiforge.schemas.jobs import JobMetricsHistory

_COLUMNS = {
    "step": "steps",
    "loss": "losses",
    "learning_rate": "learning_rates",
    "grad_norm": "grad_norms",
    "tokens_per_second": "tokens_per_second",
    "eval_loss": "eval_losses",
    "mfu": "mfu",
    "memory_bytes": "memory_bytes",
}


class Metrics(JobMetricsHistory):
    """The curves of a job; ``to_dict`` and ``to_pandas`` make a table with a row for each step."""

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns of one length, ``None`` where nothing was measured.

        ``pandas.DataFrame(metrics.to_dict())`` and its like in other libraries take them.
        """
        length = len(self.steps)
        columns = {name: list(getattr(self, field)) for name, field in _COLUMNS.items()}
        return {
            name: values if len(values) == length else [None] * length
            for name, values in columns.items()
        }

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with ``step`` as its index.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError(
                "to_pandas needs pandas: pip install pandas. to_dict needs nothing more."
            ) from error
        return pandas.DataFrame(self.to_dict()).set_index("step")
