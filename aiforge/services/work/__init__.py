"""What runs really do, a module per kind; imported when a run of that kind begins."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from aiforge.errors import InternalError
from aiforge.schemas.runs import RunKind
from aiforge.services.context import RunContext

Work = Callable[[RunContext], dict[str, Any]]
"""Does the work of one run and returns the outcome of its kind (``state/outcomes.py``)."""

WorkOf = Callable[[RunKind], Work]

_MODULES = {
    RunKind.SYNC: "aiforge.services.work.sync",
    RunKind.GENERATE: "aiforge.services.work.generate",
    RunKind.TRAIN: "aiforge.services.work.train",
    RunKind.VALIDATE: "aiforge.services.work.validate",
    RunKind.EXPORT: "aiforge.services.work.export",
    RunKind.DEPLOY: "aiforge.services.work.deploy",
    RunKind.DRIFT: "aiforge.services.work.drift",
}


def work_of(kind: RunKind) -> Work:
    """The work function of a kind of run.

    Raises:
        InternalError: Nothing carries out runs of this kind.
    """
    module = _MODULES.get(kind)
    if module is None:
        raise InternalError(f"Nothing carries out runs of kind {kind}.", code="no_such_work")
    work: Work = importlib.import_module(module).execute
    return work
