"""What validation costs: the sandbox, HumanEval, CodeBLEU, generation.

HumanEval's problems are read from AIFORGE_HUMANEVAL, a JSONL file, gzipped or not. CodeBLEU's
peer is the package of the same name, which forbids current grammars in its metadata:

    pip install --no-deps codebleu==0.7.0
"""

from __future__ import annotations

import importlib.util
import logging
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import Goal, Report, arguments, median_seconds
from rich.console import Console

from aiforge.errors import AIForgeError
from aiforge.evaluation.codebleu import codebleu
from aiforge.evaluation.humaneval import load_problems, run_all
from aiforge.evaluation.sandbox import Limits, Sandbox, interpreter
from aiforge.evaluation.sandbox_bubblewrap import Bubblewrap
from aiforge.evaluation.sandbox_landlock import Landlock
from aiforge.evaluation.sandbox_probe import open_sandbox
from aiforge.modeling.bases import FORGE_TINY, context_length, resolve_base_model
from aiforge.modeling.generate import Generator, Prompt, Sampling
from aiforge.modeling.load import load_model, load_tokenizer
from aiforge.settings import Settings

SNIPPET = '''\
def moving_average(values, width=3):
    """Means of all stretches of a list."""
    total = 0.0
    means = []
    for index, value in enumerate(values):
        total += value
        if index >= width:
            total -= values[index - width]
        if index >= width - 1:
            means.append(total / width)
    return means
'''

console = Console()


def sandbox_overhead(report: Report, quick: bool) -> None:
    """An empty program in each mechanism, beside the bare interpreter."""
    repeats = 10 if quick else 40
    bare = median_seconds(
        lambda: subprocess.run([str(interpreter()), "-I", "-B", "-c", "pass"], check=True),
        repeats=repeats,
        warmup=2,
    )
    for confinement in (Bubblewrap(), Landlock()):
        if lack := confinement.lacking():
            console.print(f"{confinement.name} {lack}; not measured")
            continue
        sandbox = Sandbox(confinement)

        def run(sandbox: Sandbox = sandbox) -> None:
            assert sandbox.run("pass").passed

        seconds = median_seconds(run, repeats=repeats, warmup=2)
        report.add(
            f"one run in {confinement.name}",
            1000 * seconds,
            "ms",
            peer="the interpreter alone",
            peer_value=1000 * bare,
        )
        report.add(
            f"overhead of {confinement.name}",
            1000 * (seconds - bare),
            "ms",
            goal=Goal("<=", 100),
        )


def human_eval(report: Report, quick: bool) -> None:
    """Every canonical solution and a stub for each problem."""
    try:
        problems = load_problems(os.environ.get("AIFORGE_HUMANEVAL", ""), 20 if quick else None)
        sandbox = open_sandbox()
    except AIForgeError as error:
        console.print(f"HumanEval is not measured: {error.message}")
        return
    cores = len(os.sched_getaffinity(0))
    for what, bodies, wanted in (
        ("canonical solutions", [one.canonical_solution for one in problems], len(problems)),
        ("stubs", ["    raise NotImplementedError\n"] * len(problems), 0),
    ):
        programs = [one.program(body) for one, body in zip(problems, bodies, strict=True)]
        begun = time.perf_counter()
        outcomes = run_all(sandbox, programs, limits=Limits(seconds=15))
        seconds = time.perf_counter() - begun
        goal = Goal("<=", 10.0) if not quick and wanted else None
        report.add(f"{len(programs)} {what} on {cores} cores", seconds, "s", goal=goal)
        report.add(
            f"{what} that pass",
            float(sum(outcome.passed for outcome in outcomes)),
            "problems",
            goal=Goal(">=" if wanted else "<=", float(wanted)),
        )


def code_bleu(report: Report, quick: bool) -> None:
    """One comparison of a function with a changed copy of it."""
    candidate = SNIPPET.replace("total", "sum").replace("-= values", "-= 2 * values")
    repeats = 20 if quick else 200
    ours = median_seconds(
        lambda: codebleu(SNIPPET, candidate, "python", str.split), repeats=repeats, warmup=3
    )
    peer = _peer_codebleu()
    if peer is None:
        console.print("codebleu 0.7.0 is not here; pip install --no-deps codebleu==0.7.0")
        report.add("CodeBLEU of one function", 1000 * ours, "ms")
        return
    theirs = median_seconds(
        lambda: peer([SNIPPET], [candidate], "python"), repeats=repeats, warmup=3
    )
    report.add(
        "CodeBLEU of one function",
        1000 * ours,
        "ms",
        peer="codebleu 0.7.0",
        peer_value=1000 * theirs,
    )
    difference = abs(
        codebleu(SNIPPET, candidate, "python", str.split).score
        - peer([SNIPPET], [candidate], "python")["codebleu"]
    )
    report.add("difference of the scores", difference, "", goal=Goal("<=", 1e-6))


def _peer_codebleu() -> Callable[..., dict[str, Any]] | None:
    if importlib.util.find_spec("codebleu") is None:
        return None
    from codebleu import calc_codebleu

    logging.disable(logging.WARNING)
    peer: Callable[..., dict[str, Any]] = calc_codebleu
    return peer


def generation(report: Report, quick: bool) -> None:
    """Prompts of different lengths through forge-tiny, together and one at a time."""
    base = resolve_base_model(FORGE_TINY, Settings(home=Path.home() / ".aiforge"))
    generator = Generator(load_model(base), load_tokenizer(base), context_length(base))
    number = 8 if quick else 32
    prompts = [
        Prompt(generator.chat({"instruction": "Explain this.\n" + SNIPPET[: 20 * (n % 16)]}), n)
        for n in range(number)
    ]
    sampling = Sampling(max_new_tokens=32, temperature=1.0)

    def rate(batches: Iterator[list[Prompt]]) -> float:
        begun = time.perf_counter()
        tokens = sum(one.tokens for batch in batches for one in generator.complete(batch, sampling))
        return tokens / (time.perf_counter() - begun)

    generator.complete(prompts[:2], sampling)
    together = [rate(iter([prompts])) for _ in range(3)]
    alone = [rate([prompt] for prompt in prompts) for _ in range(1 if quick else 2)]
    report.add(
        f"generation, {number} prompts together",
        statistics.median(together),
        "tokens/s",
        peer="one at a time",
        peer_value=statistics.median(alone),
        better="higher",
        goal=Goal(">=", 2.0, of="ratio"),
    )


def main() -> None:
    """Measure, and print the table."""
    options = arguments(__doc__)
    report = Report("evaluation")
    for measure in (sandbox_overhead, human_eval, code_bleu, generation):
        measure(report, options.quick)
    report.finish(options.json)


if __name__ == "__main__":
    main()
