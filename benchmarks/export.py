"""Export: writing GGUF beside llama.cpp's own converter, and what each type costs each family.

Both write one random Llama in float16, each in a process of its own that has imported its
libraries before the clock starts. The converter is taken from llama-cpp-python's source package,
and needs one more library:

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36 -d DIR
    pip install sentencepiece
    tar -xzf DIR/llama_cpp_python-0.3.36.tar.gz -C DIR
    python benchmarks/export.py --converter DIR/llama_cpp_python-0.3.36/vendor/llama.cpp

Without it the peer's columns stay empty. The second table exports a small random model of every
family in every type, and shows the mean divergence from the file that is exact.

    python benchmarks/export.py [--quick] [--json PATH] [--converter DIR] [--only write|parity]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import runpy
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import torch
from common import Goal, Report
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aiforge.export.exporter import export_model
from aiforge.export.gguf_file import write_gguf
from aiforge.export.plan import ExportPlan
from aiforge.export.reference import model_config
from aiforge.export.vocabulary import read_vocabulary
from aiforge.export.weights import MergedWeights
from aiforge.modeling import bases, gguf_quantize
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_tokenizer
from aiforge.modeling.lora import DEFAULT_TARGETS
from aiforge.modeling.publish import write_adapter

VOCABULARY = 8000
SHARD = "200MB"
TYPES = ["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s", "q3_k_m", "q2_k"]
FAMILIES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "phi3": "Phi3",
    "gemma": "Gemma",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3",
}
PEER = "convert_hf_to_gguf.py"
REPEATS = 3


def main() -> None:
    """Measure and report, or be one of the measured processes."""
    options = _arguments()
    if options.child:
        _child(options.child, options.model, options.out, options.converter)
        return
    report = Report("GGUF parity" if options.only == "parity" else "GGUF export")
    with tempfile.TemporaryDirectory() as directory:
        if options.only != "parity":
            _writing(report, Path(directory), options)
        if options.only != "write":
            _parity(report, Path(directory), options)
    report.finish(options.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller model, fewer types")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures here")
    parser.add_argument("--converter", type=Path, metavar="DIR", help="llama.cpp's source")
    parser.add_argument("--only", choices=["write", "parity"])
    for hidden in ("--child", "--model", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


# Writing, beside the peer.


def _writing(report: Report, directory: Path, options: argparse.Namespace) -> None:
    model = directory / "model"
    layers = 4 if options.quick else 24
    _make_llama(model, layers)
    shards = [path.stat().st_size for path in model.glob("*.safetensors")]
    size = sum(shards) / 1e6
    ours, theirs = directory / "ours.gguf", directory / "theirs.gguf"
    found = _measure("ours", model, ours, None)
    peer = None
    if options.converter:
        peer = _measure("peer", model, theirs, options.converter)
    else:
        Console().print("[yellow]No --converter given; see the head of this file.[/]")
    name = f"Llama of {size / 2:.0f} M parameters, f16"
    for key, unit, goal in (
        ("wall", "s", Goal(">=", 1.0, "ratio")),
        ("cpu", "s", None),
        ("peak", "of the largest shard", Goal("<=", 1.3)),
    ):
        scale = max(shards) if key == "peak" else 1.0
        report.add(
            f"{name}: {key}",
            found[key] / scale,
            unit,
            peer=PEER if peer else None,
            peer_value=peer[key] / scale if peer else None,
            goal=goal if goal is None or goal.of == "value" or peer else None,
        )
    if peer:
        _compare_bytes(report, ours, theirs)
    adapter = directory / "adapter"
    _make_adapter(model, adapter)
    merged = _measure("merged", model, directory / "merged.gguf", None)
    report.add("the same with an adapter of rank 32 merged: wall", merged["wall"], "s")
    report.add(
        "the same with an adapter of rank 32 merged: peak",
        merged["peak"] / max(shards),
        "of the largest shard",
        goal=Goal("<=", 1.3),
    )
    started = time.perf_counter()
    gguf_quantize.quantize(ours, directory / "q4.gguf", "q4_k_m")
    report.add("quantizing to q4_k_m", time.perf_counter() - started, "s")


def _make_llama(directory: Path, layers: int) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).to(torch.float16)
    model.save_pretrained(directory, max_shard_size=SHARD)
    _sentencepiece().save_pretrained(directory)


def _sentencepiece() -> PreTrainedTokenizerFast:
    """A tokenizer that the converter accepts: BPE with bytes to fall back on, as Llama 2 has."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        max_token_length=16,
        show_progress=False,
    )
    library = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.glob("*.py"))[:60]]
    words = [word for text in texts for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _make_adapter(model: Path, directory: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    with MergedWeights(bases.weight_files(BaseModel("m", str(model)))) as weights:
        layers = {}
        for name in weights.names():
            layer = name.removesuffix(".weight")
            if layer.rpartition(".")[2] in DEFAULT_TARGETS:
                rows, columns = weights.sources[name].shape
                a = torch.randn(32, columns, generator=generator) * 0.01
                b = torch.randn(rows, 32, generator=generator) * 0.01
                layers[layer] = (a, b)
    write_adapter(layers, 1.0, directory, BaseModel("m", str(model)))


def _measure(kind: str, model: Path, out: Path, converter: Path | None) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", kind, "--model", str(model), "--out", str(out)]
    if converter:
        command += ["--converter", str(converter)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _child(kind: str, model: str, out: str, converter: Path | None) -> None:
    """Write again and again; print median seconds, and bytes above what is there before."""
    if kind == "peer":
        assert converter is not None
        _prepare_peer(converter)
        argv = [PEER, model, "--outfile", out, "--outtype", "f16"]
        work: Callable[[], object] = lambda: _run_peer(converter, argv)  # noqa: E731
    else:
        adapter = Path(out).with_name("adapter") if kind == "merged" else None
        work = lambda: _write(Path(model), Path(out), adapter)  # noqa: E731
    # The first time pays for what is imported late and for the page cache.
    work()
    runs = [_timed(work) for _ in range(REPEATS)]
    keys = runs[0].keys()
    print(json.dumps({key: statistics.median(run[key] for run in runs) for key in keys}))


def _timed(work: Callable[[], object]) -> dict[str, float]:
    before, cpu = _reset_peak(), _cpu()
    started = time.perf_counter()
    work()
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": _cpu() - cpu, "peak": _status("VmHWM") - before}


def _write(model: Path, out: Path, adapter: Path | None) -> None:
    base = BaseModel("model", str(model))
    config = model_config(base, bases.read_config(base))
    vocabulary = read_vocabulary(load_tokenizer(base), config.vocab_size)
    with MergedWeights(bases.weight_files(base), adapter) as weights:
        write_gguf(out, weights, config.to_dict(), vocabulary, "f16", name="model")


def _prepare_peer(converter: Path) -> None:
    # The converter needs the gguf package of its own source, not the one from PyPI.
    for name in [name for name in sys.modules if name.partition(".")[0] == "gguf"]:
        del sys.modules[name]
    sys.path[:0] = [str(converter / "gguf-py"), str(converter)]
    importlib.import_module("conversion.llama")


def _run_peer(converter: Path, argv: list[str]) -> None:
    sys.argv = argv
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        runpy.run_path(str(converter / PEER), run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise
    finally:
        sys.stdout = stdout


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _reset_peak() -> float:
    """Begin to count the peak anew; the memory in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}; this benchmark needs Linux.")


def _compare_bytes(report: Report, ours: Path, theirs: Path) -> None:
    mine = {tensor.name: tensor for tensor in gguf.GGUFReader(ours).tensors}
    other = {tensor.name: tensor for tensor in gguf.GGUFReader(theirs).tensors}
    equal = [
        name
        for name in mine.keys() & other.keys()
        if mine[name].tensor_type == other[name].tensor_type
        and mine[name].data.tobytes() == other[name].data.tobytes()
    ]
    report.add(
        "tensors with equal bytes",
        len(equal),
        f"of {len(mine)}",
        peer=PEER,
        peer_value=len(other),
        better="higher",
        goal=Goal(">=", float(len(other))),
    )
    for name in sorted((mine.keys() | other.keys()) - set(equal)):
        Console().print(f"  not equal: {name}")


# What each type costs each family.


def _parity(report: Report, directory: Path, options: argparse.Namespace) -> None:
    families = ["llama", "qwen3", "gemma2"] if options.quick else list(FAMILIES)
    types = ["f16", "q8_0", "q4_k_m"] if options.quick else TYPES
    table = Table(title="Mean divergence in nats, 256 wide, random", title_justify="left")
    table.add_column("family")
    for kind in types:
        table.add_column(kind, justify="right")
    for family in families:
        base = _make_small(directory / family, family)
        cells = []
        for kind in types:
            workspace = directory / f"{family}-{kind}"
            workspace.mkdir()
            name = "divergence" if kind in TYPES[:3] else f"{kind}: divergence from 16 bit"
            plan = ExportPlan(base, Path(base.location), None, "gguf", kind, family, workspace)
            made = export_model(plan, lambda fraction, stage=None: None)
            check = next(check for check in made.checks if check.name == name)
            report.add(f"{family} {kind}", check.measured, "nats", goal=Goal("<=", check.bound))
            # All of it takes minutes of CPU, and the last export may fail.
            report.save(options.json)
            cells.append(f"{check.measured:.1e}")
        table.add_row(family, *cells)
    Console().print(table)


def _make_small(directory: Path, family: str) -> BaseModel:
    package = "gemma3" if family == "gemma3_text" else family
    module = importlib.import_module(f"transformers.models.{package}")
    prefix = "Gemma3Text" if family == "gemma3_text" else FAMILIES[family]
    scale = {"query_pre_attn_scalar": 64} if family in ("gemma2", "gemma3_text") else {}
    torch.manual_seed(0)
    config = getattr(module, f"{prefix}Config")(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.06,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **scale,
    )
    getattr(module, f"{FAMILIES[family]}ForCausalLM")(config).save_pretrained(directory)
    _sentencepiece().save_pretrained(directory)
    return BaseModel(family, str(directory))


if __name__ == "__main__":
    main()
