"""Everything that is measured of one model; a metric that cannot be had tells why.

Runs in one plain process. Completions are kept as they come, so that work that was interrupted
goes on where it was, and a second validation asks only what was never asked.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from aiforge.errors import AIForgeError, Cancelled, Failure
from aiforge.evaluation import exam, humaneval
from aiforge.evaluation.codebleu import LANGUAGES, codebleu
from aiforge.evaluation.exam_items import ExamItem, cut_body
from aiforge.evaluation.latency import details, measure
from aiforge.evaluation.ledger import Ledger, Task, complete_all
from aiforge.evaluation.sandbox_probe import open_sandbox
from aiforge.evaluation.statistics import mean_interval, pass_at_k
from aiforge.evaluation.validate import dtype, score_rows
from aiforge.modeling.generate import Generator, Prompt, Sampling
from aiforge.schemas.jobs import ValidationMetrics
from aiforge.schemas.validations import Measures, Metric
from aiforge.storage import Storage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Progress = Callable[[float, str], None]
"""Called with the share done and what is being done; what it raises stops the work."""

Row = Mapping[str, Any]

_FENCE = re.compile(r"```([A-Za-z+#]*)\n(.*?)(?:\n```|\Z)", re.DOTALL)
_FENCE_NAMES = {"py": "python", "js": "javascript", "c++": "cpp", "golang": "go", "rs": "rust"}

# How long each part takes, roughly, as shares of one model's progress.
_SHARES: Mapping[str, float] = {
    "perplexity": 0.2, "codebleu": 0.25, "humaneval": 0.25, "exam": 0.2, "latency": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What models are measured on.

    Attributes:
        rows: Held-out rows of the dataset.
        items: The exam's functions.
        exam_note: Why there are none.
        problems_at: Where HumanEval's problems are.
        window: Of perplexity, in tokens.
    """

    rows: Sequence[Row]
    items: Sequence[ExamItem]
    problems_at: str
    window: int
    exam_note: str = "The dataset has no exam; build one with raft.examItems."
    cache: dict[str, Any] = field(default_factory=dict, compare=False)

    def problems(self, limit: int | None) -> list[humaneval.Problem]:
        """HumanEval's problems, read once, however that went."""
        if "problems" not in self.cache:
            try:
                self.cache["problems"] = humaneval.load_problems(self.problems_at, limit)
            except AIForgeError as error:
                self.cache["problems"] = error
        loaded = self.cache["problems"]
        if isinstance(loaded, AIForgeError):
            raise loaded
        return list(loaded)

    def repository(self, storage: Storage, snapshot: str) -> dict[str, str]:
        """The text files of a snapshot by path, read once."""
        key = f"files {snapshot}"
        if key not in self.cache:
            self.cache[key] = exam.read_files(storage, snapshot)
        files: dict[str, str] = self.cache[key]
        return files


class Suite:
    """Measures one model.

    Args:
        identity: All that its answers depend on: base, adapter, data type.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        context: int,
        identity: Mapping[str, Any],
        material: Material,
        measures: Measures,
        storage: Storage,
        progress: Progress,
    ) -> None:
        self._generator = Generator(model, tokenizer, context)
        self._identity, self._material, self._measures = identity, material, measures
        self._storage, self._report = storage, progress
        self._done = 0.0

    def run(self) -> ValidationMetrics:
        """Measure everything; what cannot be measured says why in ``not_measured``."""
        metrics = ValidationMetrics()
        parts: Mapping[Metric, Callable[[ValidationMetrics], None]] = {
            "perplexity": self._perplexity,
            "codebleu": self._codebleu,
            "humaneval": self._humaneval,
            "exam": self._exam,
            "latency": self._latency,
        }
        for metric, part in parts.items():
            self._part = metric
            self._progress(0.0)
            try:
                part(metrics)
            except Cancelled:
                raise
            except AIForgeError as error:
                metrics.not_measured[metric] = error.message
                if metric == "perplexity":
                    metrics.not_measured["bits_per_byte"] = error.message
            self._done += _SHARES[metric]
        return metrics

    def _progress(self, share: float) -> None:
        self._report(self._done + _SHARES[self._part] * share, self._part)

    def _perplexity(self, metrics: ValidationMetrics) -> None:
        rows = self._material.rows[: self._measures.perplexity.rows]
        if not rows:
            raise Failure("The dataset holds nothing out.", code="nothing_held_out")
        generator = self._generator
        scored = score_rows(
            generator.model, generator.tokenizer, rows, self._material.window, self._progress
        )
        metrics.perplexity, metrics.bits_per_byte = scored.perplexity, scored.bits_per_byte
        metrics.scored_tokens = scored.tokens
        metrics.samples |= {"perplexity": scored.tokens, "bits_per_byte": scored.tokens}
        metrics.details["perplexity"] = {
            "rows": scored.examples,
            "skippedRows": scored.skipped,
            "window": self._material.window,
            "stride": self._material.window // 2,
        }

    def _codebleu(self, metrics: ValidationMetrics) -> None:
        size = self._measures.codebleu
        wanted = [(row, *code) for row in self._material.rows if (code := code_of(row["output"]))]
        wanted = wanted[: size.examples]
        if not wanted:
            reason = "No held-out answer holds code." if size.examples else _NOT_WANTED
            raise Failure(reason, code="nothing_to_score")
        tasks = [
            Task(str(number), Prompt(self._generator.chat(row)))
            for number, (row, _, _) in enumerate(wanted)
        ]
        answers = self._ask("codebleu", tasks, Sampling(max_new_tokens=size.max_new_tokens))
        scores = []
        by_language: dict[str, list[float]] = defaultdict(list)
        for (_, language, reference), answer in zip(wanted, answers, strict=True):
            given = code_of(answer)
            scored = codebleu(reference, given[1] if given else answer, language)
            scores.append(scored.score)
            by_language[language].append(scored.score)
        self._mean("codebleu", scores, metrics)
        metrics.details["codebleu"] = {
            "byLanguage": {name: fmean(values) for name, values in by_language.items()},
            "maxNewTokens": size.max_new_tokens,
        }

    def _humaneval(self, metrics: ValidationMetrics) -> None:
        size = self._measures.humaneval
        if size.problems == 0:
            raise Failure(_NOT_WANTED, code="not_wanted")
        sandbox = open_sandbox()
        problems = self._material.problems(size.problems)
        sampling = Sampling(
            size.max_new_tokens, size.temperature, self._measures.seed, humaneval.STOP
        )
        tasks = [
            Task(
                problem.task_id, Prompt(self._opened(humaneval.INSTRUCTION, problem.prompt), number)
            )
            for problem in problems
            for number in range(size.samples)
        ]
        answers = self._ask("humaneval", tasks, sampling)
        programs = [
            problem.program(cut_body(answers[index * size.samples + number], "    "))
            for index, problem in enumerate(problems)
            for number in range(size.samples)
        ]
        outcomes = humaneval.run_all(sandbox, programs)
        correct = [
            sum(one.passed for one in outcomes[at : at + size.samples])
            for at in range(0, len(outcomes), size.samples)
        ]
        self._mean("humaneval", [pass_at_k(size.samples, one, 1) for one in correct], metrics)
        metrics.details["humaneval"] = {
            "samplesPerProblem": size.samples,
            "temperature": size.temperature,
            "seed": self._measures.seed,
            "sandbox": sandbox.name,
            "passAt": {
                str(k): fmean(pass_at_k(size.samples, one, k) for one in correct)
                for k in (1, 10, 100)
                if k <= size.samples
            },
            "outcomes": _counts(outcome.reason for outcome in outcomes),
        }

    def _exam(self, metrics: ValidationMetrics) -> None:
        size = self._measures.exam
        items = self._material.items[: size.items]
        if not items:
            raise Failure(self._material.exam_note if size.items else _NOT_WANTED, code="no_exam")
        sandbox = open_sandbox()
        tasks = [Task(item.id, Prompt(self._question(item))) for item in items]
        sampling = Sampling(size.max_new_tokens, stop=("\n```",))
        answers = self._ask("exam", tasks, sampling)
        right: dict[str, bool] = {}
        by_snapshot: dict[str, list[tuple[ExamItem, str]]] = defaultdict(list)
        for item, answer in zip(items, answers, strict=True):
            by_snapshot[item.snapshot].append((item, cut_body(answer, item.indent)))
        for snapshot, attempts in by_snapshot.items():
            files = self._material.repository(self._storage, snapshot)
            outcomes = exam.sit_all(sandbox, files, attempts)
            for (item, _), outcome in zip(attempts, outcomes, strict=True):
                right[item.id] = outcome.passed
        self._mean("exam", [float(right[item.id]) for item in items], metrics)
        metrics.details["exam"] = {"sandbox": sandbox.name, "maxNewTokens": size.max_new_tokens}

    def _latency(self, metrics: ValidationMetrics) -> None:
        size = self._measures.latency
        if not size.requests:
            raise Failure(_NOT_WANTED, code="not_wanted")
        engine = TransformersEngine(self._generator)
        timed = measure(engine, size.requests, size.max_new_tokens)
        metrics.latency = timed.first[0]
        metrics.samples["latency"] = timed.requests
        metrics.details["latency"] = details(timed, engine)

    def _opened(self, instruction: str, prompt: str) -> tuple[int, ...]:
        """Tokens of an instruction about a function, whose answer begins with its head."""
        row = {"instruction": instruction.format(prompt=prompt)}
        return self._generator.chat(row, humaneval.OPENING.format(prompt=prompt))

    def _question(self, item: ExamItem) -> tuple[int, ...]:
        instruction = f"Complete `{item.qualified}` of {item.path}.\n\n```python\n{{prompt}}\n```"
        row = {"instruction": instruction.format(prompt=item.context())}
        return self._generator.chat(row, humaneval.OPENING.format(prompt=item.prompt))

    def _ask(self, suite: str, tasks: Sequence[Task], sampling: Sampling) -> list[str]:
        identity = {
            "model": dict(self._identity),
            "suite": suite,
            "sampling": vars(sampling) | {"stop": list(sampling.stop)},
        }
        ledger = Ledger(self._storage, identity)
        completions = complete_all(self._generator, tasks, sampling, ledger, self._progress)
        return [completion.text for completion in completions]

    def _mean(self, metric: Metric, values: list[float], metrics: ValidationMetrics) -> None:
        setattr(metrics, metric, fmean(values))
        metrics.samples[metric] = len(values)
        metrics.intervals[metric] = mean_interval(values, self._measures.seed)


_NOT_WANTED = "The policy measures none."


class TransformersEngine:
    """Latency's view of a model in this process."""

    name = "transformers"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.dtype = str(dtype()).removeprefix("torch.")

        self.hardware = self._hardware()

    @staticmethod
    def _hardware() -> str:
        if torch.cuda.is_available():
            return torch.cuda.get_device_name(0)
        return f"CPU, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads"

    def __call__(self, prompt: str, max_new_tokens: int, on_token: Callable[[], None]) -> None:
        """See ``latency.Generates``."""
        ids = self._generator.chat({"instruction": prompt})
        self._generator.complete([Prompt(ids)], Sampling(max_new_tokens), on_token)


def code_of(text: str) -> tuple[str, str] | None:
    """Language and content of the first block of code that CodeBLEU knows, or ``None``."""
    for found in _FENCE.finditer(text):
        language = found[1].lower()
        language = _FENCE_NAMES.get(language, language)
        if language in LANGUAGES and found[2].strip():
            return language, found[2]
    return None


def _counts(reasons: Any) -> dict[str, int]:
    counted: dict[str, int] = defaultdict(int)
    for reason in reasons:
        counted[reason] += 1
    return dict(counted)
