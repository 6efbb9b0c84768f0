"""What can be exported is known before anything is trained."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from aiforge.errors import InvalidInput
from aiforge.export.architectures import context_limit, require_exportable, rope_of
from aiforge.modeling.bases import FAMILIES
from aiforge.modeling.catalog import read_catalog

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "num_attention_heads": 4,
    "hidden_act": "silu",
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_that_can_be_trained_can_be_exported(family: str) -> None:
    require_exportable({"model_type": family})


def test_every_model_of_the_catalog_has_an_exportable_shape() -> None:
    for entry in read_catalog().models:
        shape = entry.shape
        require_exportable(
            {
                "model_type": entry.family,
                "hidden_size": shape.hidden_size,
                "num_attention_heads": shape.attention_heads,
                "head_dim": shape.head_dim,
                "num_hidden_layers": shape.layers,
                "tie_word_embeddings": shape.tied_embeddings,
            }
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "'longrope'"),
        ({"partial_rotary_factor": 0.5}, "part of its heads"),
        ({"model_type": "qwen2", "head_dim": 128}, "not as wide"),
        ({"head_dim": 63}, "odd width"),
        ({"model_type": "qwen3", "attention_bias": True}, "biases"),
        (
            {"model_type": "gemma", "hidden_act": "gelu", "tie_word_embeddings": False},
            "not tied",
        ),
        (
            {"model_type": "gemma2", "hidden_act": "gelu", "query_pre_attn_scalar": 224},
            "scaled by 224",
        ),
        ({"use_bidirectional_attention": True}, "both directions"),
    ],
)
def test_what_llama_cpp_cannot_compute_is_refused_with_what_can_be_exported(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match="gemma3_text, llama, mistral") as refused:
        require_exportable(LLAMA | change)
    assert said in refused.value.message
    assert refused.value.code == "not_exportable"
    assert refused.value.detail["field"] == "baseModel"


def test_old_and_new_keys_of_the_rotary_embedding_mean_the_same() -> None:
    old = {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}}
    assert rope_of(old) == rope_of(new)
    assert rope_of({}) == {"rope_type": "default", "rope_theta": 10_000.0}
    layers = {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        }
    }
    assert rope_of(layers)["rope_theta"] == 1e6
    assert rope_of(layers, "sliding_attention") == {"rope_type": "default", "rope_theta": 1e4}
    before = {
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }
    for kind in ("full_attention", "sliding_attention"):
        assert rope_of(before, kind) == rope_of(layers, kind)


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, 4096),
        ({"model_type": "mistral", "sliding_window": None}, 32768),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, 32768),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}, 4096),
        ({"model_type": "gemma2", "sliding_window": 4096}, 32768),
    ],
)
def test_the_context_ends_where_an_ignored_window_would_show(
    config: dict[str, Any], length: int
) -> None:
    assert context_limit({"max_position_embeddings": 32768} | config) == length


def test_asking_loads_no_torch() -> None:
    code = "import sys, aiforge.export.architectures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
