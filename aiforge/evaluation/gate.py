"""The gate: whether a model's figures are good enough, by a policy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from aiforge.errors import InvalidInput
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import (
    LOWER_IS_BETTER,
    GatePolicy,
    GateStatus,
    GateVerdict,
    Metric,
    Threshold,
)
from aiforge.settings import config_dir, read_yaml

DEFAULT = "default"

_SLACK = 1e-9
"""Share by which a bound may be missed: what rounding does to equal figures."""


def evaluate(
    policy: GatePolicy, candidate: ValidationMetrics, champion: ValidationMetrics | None
) -> list[GateVerdict]:
    """What the policy says of each of its metrics.

    Args:
        candidate: Figures of the model in question, with their sample counts.
        champion: Figures of the model in use on the same material; the base model's before any
            is in use.
    """
    return [_judge(metric, bound, candidate, champion) for metric, bound in policy.gates.items()]


def passed(verdicts: Sequence[GateVerdict]) -> bool:
    """Whether the gate opens: nothing failed, nothing required is missing, something passed."""
    blocked = any(
        verdict.status is GateStatus.FAIL
        or (verdict.required and verdict.status is not GateStatus.PASS)
        for verdict in verdicts
    )
    return not blocked and any(verdict.status is GateStatus.PASS for verdict in verdicts)


def _judge(
    metric: Metric,
    bound: Threshold,
    candidate: ValidationMetrics,
    champion: ValidationMetrics | None,
) -> GateVerdict:
    value: float | None = getattr(candidate, metric)
    samples = candidate.samples.get(metric)
    known: float | None = getattr(champion, metric) if champion is not None else None

    def say(status: GateStatus, reason: str) -> GateVerdict:
        return GateVerdict(
            metric=metric,
            status=status,
            reason=reason,
            required=bound.required,
            value=value,
            champion=known,
            samples=samples,
        )

    if value is None:
        return say(
            GateStatus.NOT_EVALUATED, candidate.not_measured.get(metric, "It was not measured.")
        )
    if not math.isfinite(value):
        return say(GateStatus.FAIL, "It is not finite.")
    if (samples or 0) < bound.min_samples:
        return say(
            GateStatus.NOT_EVALUATED,
            f"{samples or 0} samples are too few; {bound.min_samples} are needed.",
        )
    lower = metric in LOWER_IS_BETTER
    if bound.floor is not None and _worse(value, bound.floor, lower):
        limit = "at most" if lower else "at least"
        return say(GateStatus.FAIL, f"{value:.4g} is not {limit} {bound.floor:.4g}.")
    if bound.max_regression is None:
        return say(GateStatus.PASS, f"{value:.4g} is good enough.")
    return say(*_compare(value, known, bound, lower))


def _compare(
    value: float, known: float | None, bound: Threshold, lower: bool
) -> tuple[GateStatus, str]:
    if known is None or not math.isfinite(known):
        return GateStatus.NOT_EVALUATED, "There is no figure of another model to compare with."
    allowed = bound.max_regression or 0.0
    slack = abs(known) * allowed if bound.relative else allowed
    limit = known + slack if lower else known - slack
    told = f"{value:.4g} beside the champion's {known:.4g}; {limit:.4g} is the limit."
    return (GateStatus.FAIL if _worse(value, limit, lower) else GateStatus.PASS), told


def _worse(value: float, bound: float, lower: bool) -> bool:
    margin = abs(bound) * _SLACK
    return value > bound + margin if lower else value < bound - margin


def read_policy(name: str) -> GatePolicy:
    """The policy of a file in ``configs/gates``.

    Raises:
        InvalidInput: There is none of that name (``unknown_policy``), or it is not valid.
    """
    known = policy_files()
    if name not in known:
        raise InvalidInput(
            f"There is no gate policy {name!r}; choose among {', '.join(sorted(known))}.",
            code="unknown_policy",
            field="policy",
        )
    try:
        return GatePolicy.model_validate({**read_yaml(known[name]), "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{known[name]}: {where}: {first['msg']}.", code="config_invalid"
        ) from error


def policy_files() -> dict[str, Path]:
    """The files of ``configs/gates`` by name."""
    return {path.stem: path for path in (config_dir() / "gates").glob("*.yaml")}


def policy_for(parameters: int | None) -> GatePolicy:
    """The policy of a base model of that size: the smallest bound above it, else ``default``."""
    fitting = []
    for name in policy_files():
        policy = read_policy(name)
        bound = policy.below_parameters
        if bound is not None and parameters is not None and parameters < bound:
            fitting.append((bound, name, policy))
    return min(fitting)[2] if fitting else read_policy(DEFAULT)
