"""llama.cpp through its one home."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiforge.errors import Failure, Unavailable
from aiforge.modeling import gguf_quantize, llama_cpp, llama_library


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    return path


def test_what_is_no_model_is_refused_with_the_reason(
    broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("llama_cpp")
    with pytest.raises(Failure, match=r"broken\.gguf.*version") as refused:
        llama_cpp.GgufModel(broken)
    assert refused.value.code == "gguf_unreadable"
    assert capfd.readouterr() == ("", "")


def test_a_failed_quantization_leaves_nothing_behind(broken: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    target = tmp_path / "out.gguf"
    with pytest.raises(Failure, match="could not quantize to q8_0"):
        gguf_quantize.quantize(broken, target, "q8_0")
    assert not target.exists()


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    llama_library.load.cache_clear()
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(Unavailable, match=r"pip install 'aiforge\[export\]'") as refused:
        llama_library.load()
    assert refused.value.code == "llama_cpp_missing"
