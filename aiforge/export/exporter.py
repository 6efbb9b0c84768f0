"""One export from beginning to end: merge, write, quantize, compare; then it may be published."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiforge.errors import Failure
from aiforge.export import parity
from aiforge.export.architectures import context_limit, require_exportable
from aiforge.export.gguf_file import FLOAT_TYPES, write_gguf
from aiforge.export.plan import (
    MAIN_FILES,
    PARITY_FILE,
    Check,
    ExportedFile,
    ExportPlan,
    ExportReport,
    Progress,
    disk_bytes,
)
from aiforge.export.reference import model_config, reference_logits
from aiforge.export.safetensors_file import write_safetensors
from aiforge.export.texts import prompts
from aiforge.export.vocabulary import Vocabulary, read_vocabulary
from aiforge.export.weights import MergedWeights
from aiforge.modeling import bases, gguf_quantize, llama_cpp, llama_library
from aiforge.modeling.bases import BaseModel
from aiforge.modeling.load import load_tokenizer, save_tokenizer
from aiforge.modeling.publish import CONFIG_FILE

_BLOCK = 1 << 22


def export_model(plan: ExportPlan, progress: Progress) -> ExportReport:
    """Make the files of an export in its workspace and compare them with transformers.

    The caller publishes the workspace; where this raises, nothing in it may be used.

    Raises:
        Failure: The model cannot be exported, or a comparison failed (``parity_failed``).
        Unavailable: llama.cpp is not installed.
    """
    if plan.format == "peft":
        return _finish(plan, _Work(plan, progress), _export_adapter(plan))
    work = _Work(plan, progress)
    if plan.format == "gguf":
        llama_library.load()
        return _finish(plan, work, work.gguf())
    return _finish(plan, work, work.safetensors())


def parameters_of(shards: list[Path]) -> int:
    """At least the number of weights in some files, by their size at 16 bit."""
    return sum(shard.stat().st_size for shard in shards) // 2


class _Work:
    """The steps of one export, with what they share."""

    def __init__(self, plan: ExportPlan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self.stop_tokens: list[str] = []
        self.context_length: int | None = None
        # The directory of the weights, with the template of the base.
        self.base = BaseModel(plan.base.name, str(plan.model), None, True, plan.base.chat_template)
        declared = bases.read_config(self.base)
        require_exportable(declared)
        self.config = model_config(self.base, declared)
        self.parameters: dict[str, Any] = self.config.to_dict()
        self.tied = bool(self.config.tie_word_embeddings)
        self.shards = bases.weight_files(self.base)
        self.tokenizer = load_tokenizer(self.base)
        _require_room(
            plan.workspace,
            disk_bytes(parameters_of(self.shards), plan.format, plan.quantization),
        )

    def weights(self) -> MergedWeights:
        return MergedWeights(self.shards, self.plan.adapter, tied=self.tied)

    @contextmanager
    def stage(self, name: str, begin: float) -> Iterator[None]:
        self.progress(begin, name)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)

    def gguf(self) -> list[Check]:
        """Write, compare, and quantize where that was asked for; returns what was compared."""
        plan, wanted = self.plan, self.plan.quantization
        vocabulary = read_vocabulary(self.tokenizer, self.config.vocab_size)
        self._note_limits(vocabulary)
        self.stop_tokens = vocabulary.stop_tokens
        self.context_length = context_limit(self.parameters)
        with self.weights() as weights:
            with self.stage("writing", 0.02):
                path, written = self._write(weights, vocabulary)
            with self.stage("comparing with transformers", 0.3):
                with self._opened(path) as model:
                    checks = parity.check_tokens(model, self.tokenizer, vocabulary)
                    _require_passed(checks)
                    found = parity.probe(model, self.tokenizer)
                expected = reference_logits(
                    self.base,
                    self.config,
                    weights,
                    found.sequences,
                    stored_as=FLOAT_TYPES[written],
                )
                checks += parity.check_logits(found, expected, written)
                _require_passed(checks)
        if wanted in FLOAT_TYPES:
            return checks
        target = plan.workspace / MAIN_FILES["gguf"]
        with self.stage("quantizing", 0.6):
            gguf_quantize.quantize(path, target, wanted, threads=plan.threads)
        with self.stage("comparing with 16 bit", 0.8):
            with self._opened(target) as model:
                of_file = parity.check_tokens(model, self.tokenizer, vocabulary)[:1]
                compared, notes = parity.check_quantized(model, found, wanted, target, path)
            checks += [_named(check, wanted) for check in [*of_file, *compared]]
            self.notes += notes
        path.unlink()
        return checks

    def safetensors(self) -> list[Check]:
        """Write the merged model as transformers loads it, and compare what it computes."""
        plan = self.plan
        target = plan.workspace / MAIN_FILES["safetensors"]
        kind = FLOAT_TYPES[plan.quantization]
        probe = [self.tokenizer(text)["input_ids"][:64] for text in prompts(self.tokenizer)]
        with self.weights() as weights, self.stage("writing", 0.02):
            write_safetensors(target, weights, kind)
        self.config.dtype = kind
        self.config.save_pretrained(plan.workspace)
        save_tokenizer(self.tokenizer, plan.workspace)
        with self.stage("comparing with transformers", 0.4):
            with self.weights() as weights:
                expected = reference_logits(
                    self.base, self.config, weights, probe, stored_as=kind, vectors_too=True
                )
            written = BaseModel(plan.name, str(plan.workspace))
            config = model_config(written, bases.read_config(written))
            with MergedWeights([target], tied=self.tied) as weights:
                found = reference_logits(written, config, weights, probe, stored_as=kind)
        difference = max(
            float(abs(ours - theirs).max()) for ours, theirs in zip(found, expected, strict=True)
        )
        # Both compute with the same rounded weights in the same way.
        bound = 1e-3
        return [Check("logits", difference, bound, "largest difference", difference <= bound)]

    def _write(self, weights: MergedWeights, vocabulary: Vocabulary) -> tuple[Path, str]:
        """Write the file that is asked for, or the one that a k-quant is made of; and its type."""
        plan = self.plan

        def write(path: Path, file_type: str) -> tuple[Path, str]:
            write_gguf(
                path,
                weights,
                self.parameters,
                vocabulary,
                file_type,
                name=plan.name,
                progress=lambda share: self.progress(0.02 + 0.28 * share),
            )
            return path, file_type

        if plan.quantization in FLOAT_TYPES:
            return write(plan.workspace / MAIN_FILES["gguf"], plan.quantization)
        path = plan.workspace / "intermediate.gguf"
        try:
            return write(path, "f16")
        except Failure as error:
            if error.code != "weights_overflow":
                raise
            return write(path, "f32")

    def _opened(self, path: Path) -> llama_cpp.GgufModel:
        length = min(parity.CONTEXT, self.context_length or parity.CONTEXT)
        return llama_cpp.GgufModel(
            path, context_length=length, exact=True, threads=self.plan.threads
        )

    def _note_limits(self, vocabulary: Vocabulary) -> None:
        if vocabulary.is_composed:
            self.notes.append(
                "The tokenizer composes characters (NFC) first and llama.cpp does not: text that "
                "holds decomposed ones is split differently. The texts were compared composed."
            )
        if vocabulary.splits_marks:
            self.notes.append(
                "llama.cpp's expression for this tokenizer knows no combining marks: text that "
                "holds some, as Devanagari does, may be split differently. It was not compared."
            )
        longest = int(self.parameters.get("max_position_embeddings") or 0)
        if (limit := context_limit(self.parameters)) < longest:
            self.notes.append(
                f"The context is {limit} tokens instead of {longest}: beyond the attention window "
                "llama.cpp computes something else than the model was trained to."
            )


def _named(check: Check, quantization: str) -> Check:
    return Check(
        f"{quantization}: {check.name}",
        check.measured,
        check.bound,
        check.unit,
        check.passed,
        check.detail,
    )


def _export_adapter(plan: ExportPlan) -> list[Check]:
    """Copy the published adapter; it fits the base, and holds numbers only."""
    assert plan.adapter is not None
    for name in (MAIN_FILES["peft"], CONFIG_FILE):
        shutil.copy2(plan.adapter / name, plan.workspace / name)
    shards = bases.weight_files(BaseModel(plan.base.name, str(plan.model)))
    changed = 0
    with MergedWeights(shards, plan.workspace) as weights:
        for name in weights.changed():
            changed += 1
            for _ in weights.stretches(name):
                pass
    return [Check("merges with the base", changed, changed, "weights changed", changed > 0)]


def _finish(plan: ExportPlan, work: _Work, checks: list[Check]) -> ExportReport:
    _require_passed(checks)
    with work.stage("hashing", 0.92):
        files = [
            ExportedFile(path.name, path.stat().st_size, _sha256(path))
            for path in sorted(plan.workspace.iterdir())
        ]
    report = ExportReport(
        main=MAIN_FILES[plan.format],
        files=files,
        checks=checks,
        notes=work.notes,
        stop_tokens=work.stop_tokens,
        context_length=work.context_length,
        seconds=work.seconds,
    )
    (plan.workspace / PARITY_FILE).write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    return report


def _require_passed(checks: list[Check]) -> None:
    for check in checks:
        if not check.passed:
            raise Failure(
                f"The exported file is not the model: {check.name}, {check.measured:.4g} "
                f"{check.unit}, at most {check.bound:.4g} may be. {check.detail} Nothing was "
                "published; export again, and report it if it fails again.",
                code="parity_failed",
                check=check.name,
                measured=check.measured,
                bound=check.bound,
            )


def _require_room(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise Failure(
            f"{needed / (1 << 30):.1f} GiB are needed under {directory} and "
            f"{free / (1 << 30):.1f} GiB are free; delete exports, or choose a smaller type.",
            code="disk_full",
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
