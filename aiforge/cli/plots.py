"""Charts for people: the loss curve of a job as a PNG."""

from __future__ import annotations

import math
from pathlib import Path

from aiforge.schemas.jobs import JobMetricsHistory


def loss_curve(history: JobMetricsHistory, title: str, path: Path) -> Path:
    """Draw loss and learning rate over the steps.

    Args:
        history: The curves of a job.
        title: Stands above the plot.
        path: The PNG to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    losses = [math.nan if loss is None else loss for loss in history.losses]
    axes.plot(history.steps, losses, color="#9db8d9", linewidth=1, label="loss of a step")
    axes.plot(
        history.steps,
        _smoothed(history.losses),
        color="#1f5fa8",
        linewidth=2.2,
        label="smoothed",
    )
    axes.set(xlabel="optimizer step", ylabel="loss (nats per trained token)", title=title)
    axes.grid(alpha=0.25)
    rates = axes.twinx()
    rates.plot(history.steps, history.learning_rates, color="#c98a2b", linewidth=1, linestyle="--")
    rates.set_ylabel("learning rate", color="#c98a2b")
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
    return path


def _smoothed(values: list[float | None], decay: float = 0.8) -> list[float]:
    """Exponential moving average, corrected for its start; a gap keeps the value before it."""
    smoothed, total, weight = [], 0.0, 0.0
    for value in values:
        if value is None:
            smoothed.append(total / weight if weight else math.nan)
            continue
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        smoothed.append(total / weight)
    return smoothed
