"""Repositories that are made for a test: modules of one style, each about something else."""

from __future__ import annotations

import textwrap

VERBS = ("count", "sort", "merge", "drop", "rank", "weigh", "label", "group")
NOUNS = ("apples", "bridges", "clouds", "drums", "engines", "forests", "gates", "hills")


def module(name: str, functions: int = len(VERBS)) -> str:
    """A Python module of documented functions that no other module has."""
    parts = [
        f'''
        def {verb}_{name}({name}: list[int], amount: int = {number}) -> int:
            """{verb.capitalize()} the {name} and return how many of them were left.

            Items below {number} are not counted, since the {name} of {verb}s come from outside.
            """
            left = [item for item in {name} if item >= amount + {number}]
            return len(left) * {number}
        '''
        for number, verb in enumerate(VERBS[:functions], start=len(name))
    ]
    return f'"""Work on {name}."""\n' + "\n".join(map(textwrap.dedent, parts))
