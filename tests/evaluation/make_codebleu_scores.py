"""Writes ``codebleu_scores.json``: what the package ``codebleu`` 0.7.0 gives for some pairs.

Its metadata forbid current grammars, so it gets an environment of its own, with the grammars that
the project uses and without its dependencies:

    python -m venv oracle
    oracle/bin/pip install -c constraints.txt tree-sitter \
        tree-sitter-{c,cpp,go,java,javascript,python,rust} setuptools
    oracle/bin/pip install --no-deps codebleu==0.7.0
    oracle/bin/python tests/evaluation/make_codebleu_scores.py tests/evaluation/codebleu_scores.json

One entry for each of ``pairs()``, ``null`` where it depends on Python's hash seed.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

SEEDS = range(6)

PYTHON = [
    '''\
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
''',
    """\
class Stack:
    # Last in, first out.
    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        self.items.append(item)
        return self

    def pop(self):
        if not self.items:
            raise IndexError("empty")
        else:
            return self.items.pop()
""",
    """\
def parse(lines):
    found, count = {}, 0
    while lines:
        line = lines.pop()
        key, _, value = line.partition("=")
        if key:
            found[key] = [part.strip() for part in value.split(",")]
        elif value:
            count += 1
        else:
            continue
    a.b = x + y
    return found, count
""",
]
JAVA = [
    """\
public class Sums {
    // Adds what is even.
    static int even(int[] values) {
        int total = 0;
        for (int i = 0; i < values.length; i++) {
            if (values[i] % 2 == 0) {
                total = total + values[i];
            } else {
                total = total - 1;
            }
        }
        for (int value : values) { total += value; }
        while (total > 100) { total = total / 2; }
        return total;
    }
}
"""
]
JAVASCRIPT = [
    """\
function group(items, key) {
  const groups = {};
  let size = 0;
  for (let i = 0; i < items.length; i++) {
    const name = items[i][key] || "none";
    if (!(name in groups)) { groups[name] = []; } else { size += 1; }
    groups[name].push(items[i]);
    size++;
  }
  /* how many */
  while (size > 10) { size -= 10; }
  return [groups, size];
}
"""
]
GO = [
    """\
package sums

// Sum adds up.
func Sum(values []int) (int, error) {
	var total int = 0
	count := 0
	for i := 0; i < len(values); i++ {
		if values[i] < 0 {
			return 0, errors.New("negative")
		} else {
			total = total + values[i]
		}
		count++
	}
	total = total / count
	return total, nil
}
"""
]
C = [
    """\
int count(const char *text, char wanted) {
    int found = 0;
    for (int i = 0; text[i] != 0; i++) {
        if (text[i] == wanted) { found = found + 1; } else { found += 0; }
    }
    while (found > 9) found--; /* one digit */
    return found;
}
"""
]
RUST = [
    """\
fn largest(values: &[i32]) -> Option<i32> {
    let mut best = None;
    for value in values {
        if let Some(known) = best {
            if *value > known { best = Some(*value); }
        } else {
            best = Some(*value);
        }
    }
    loop { break; }
    best
}
"""
]
SNIPPETS = {
    "python": PYTHON,
    "java": JAVA,
    "javascript": JAVASCRIPT,
    "go": GO,
    "c": C,
    "cpp": C,
    "rust": RUST,
}
RENAMED = {"total": "sum", "found": "seen", "items": "things", "best": "top", "value": "entry"}


def candidates(text: str) -> list[str]:
    """The text itself, and what becomes of it by some changes."""
    lines = text.splitlines(keepends=True)
    renamed = text
    for old, new in RENAMED.items():
        renamed = renamed.replace(old, new)
    changed = [text, renamed, text.replace("if", "while"), text.replace("+", "-")]
    changed += ["".join(lines[:cut] + lines[cut + 1 :]) for cut in range(1, len(lines), 2)]
    changed += ["".join(lines[: len(lines) // 2]), "".join(reversed(lines))]
    return [one for one in dict.fromkeys(changed) if one.strip()]


def pairs() -> list[dict[str, str]]:
    """Every snippet beside its changed forms, and beside the others of its language."""
    return [
        {"language": language, "reference": reference, "candidate": candidate}
        for language, snippets in SNIPPETS.items()
        for reference in snippets
        for candidate in [*candidates(reference), *(s for s in snippets if s != reference)]
    ]


def score() -> list[dict[str, float]]:
    """What the package gives for each pair."""
    from codebleu import calc_codebleu

    logging.disable(logging.CRITICAL)
    return [
        calc_codebleu([pair["reference"]], [pair["candidate"]], pair["language"])
        for pair in pairs()
    ]


def main() -> None:
    if sys.argv[1] == "-":
        print(json.dumps(score()))
        return
    rounds = []
    for seed in SEEDS:
        done = subprocess.run(
            [sys.executable, __file__, "-"],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        )
        rounds.append(json.loads(done.stdout))
    agreed = [
        scores[0] if all(one == scores[0] for one in scores) else None
        for scores in zip(*rounds, strict=True)
    ]
    Path(sys.argv[1]).write_text(json.dumps(agreed, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(one is not None for one in agreed)} of {len(agreed)} pairs")


if __name__ == "__main__":
    main()
