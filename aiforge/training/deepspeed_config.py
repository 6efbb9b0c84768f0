"""``configs/deepspeed/*.json``: how ZeRO divides the work, checked before a worker sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aiforge.errors import InvalidInput
from aiforge.settings import config_dir


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Offload(_Section):
    """Where a part of the state lies while it is not needed."""

    device: Literal["cpu", "none"] = "none"
    """``cpu`` keeps it in the host's memory."""

    pin_memory: bool = False
    """Page-locked memory: faster copies to a GPU, memory that cannot be swapped."""


class ZeroSection(_Section):
    """What is divided among the workers (Rajbhandari et al., arXiv 1910.02054)."""

    stage: Literal[0, 1, 2, 3]
    """0 nothing, 1 optimizer state, 2 also gradients, 3 also parameters, the frozen base's too."""

    overlap_comm: bool = False
    """Communicate while the backward pass still computes; pays on GPUs."""

    contiguous_gradients: bool = True
    """Gather gradients in one buffer, which avoids fragmented memory."""

    reduce_bucket_size: int = Field(default=50_000_000, ge=1)
    """Elements that are reduced at a time."""

    allgather_bucket_size: int = Field(default=50_000_000, ge=1)
    """Elements that are gathered at a time, stages 1 and 2."""

    stage3_prefetch_bucket_size: int = Field(default=50_000_000, ge=0)
    """Elements of parameters that are fetched ahead, stage 3."""

    stage3_param_persistence_threshold: int = Field(default=10_000, ge=0)
    """Parameters smaller than this stay on every worker, stage 3."""

    zero_hpz_partition_size: int = Field(default=1, ge=1)
    """Workers of a node that keep a second copy of the parameters, stage 3 over several nodes."""

    offload_optimizer: Offload = Offload()
    """Optimizer state, stages 1 to 3."""

    offload_param: Offload = Offload()
    """Parameters, stage 3."""


class DeepSpeedConfig(_Section):
    """The part of a DeepSpeed configuration that does not follow from the job."""

    zero_optimization: ZeroSection
    """ZeRO."""

    gradient_clipping: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    def for_engine(self, *, bf16: bool, clip: bool = True) -> dict[str, Any]:
        """The dictionary that ``deepspeed.initialize`` takes.

        Args:
            bf16: Whether the trained parameters themselves are bfloat16.
            clip: Whether DeepSpeed is to clip gradients.
        """
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self.gradient_clipping if clip else 0.0,
            "bf16": {"enabled": bf16},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "zero_optimization": self.zero_optimization.model_dump(),
            "steps_per_print": 1 << 60,
        }


def read_deepspeed_config(path: Path) -> DeepSpeedConfig:
    """One configuration file.

    Raises:
        InvalidInput: It is missing or does not have the documented form.
    """
    try:
        return DeepSpeedConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidInput(
            f"Cannot read {path}: {error.strerror}.", code="config_unreadable"
        ) from error
    except (json.JSONDecodeError, ValidationError) as error:
        raise InvalidInput(f"{path} is not valid: {error}", code="config_invalid") from error


def shipped_config(stage: int, offload: bool = False) -> DeepSpeedConfig:
    """The configuration that ships for a ZeRO stage."""
    name = f"zero{stage}-offload.json" if offload else f"zero{stage}.json"
    return read_deepspeed_config(config_dir() / "deepspeed" / name)
