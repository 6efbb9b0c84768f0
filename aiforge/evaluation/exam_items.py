"""Functions of a repository that an exam can ask for: where their bodies are, in text."""

from __future__ import annotations

import ast
import hashlib
import re
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel, Field

MIN_LINES, MAX_LINES = 2, 60
"""Of a body, without its docstring."""

CONTEXT_CHARACTERS = 6000
"""Of the file above a function, that a model is shown."""

STUB = "raise NotImplementedError\n"

_TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$|(^|/)tests?/")


class ExamItem(BaseModel):
    """One function: the file around its body, the body, and the tests that check it.

    ``prompt`` is the function up to its body; ``path + prompt + body + after`` is the file.
    """

    id: str
    snapshot: str
    """Directory of the snapshot that it is from, relative to the storage."""

    path: str
    qualified: str
    before: str
    """The file above the function."""

    prompt: str
    body: str
    after: str
    tests: list[str] = Field(default_factory=list)
    seconds: float = 10.0
    """What the tests may take."""

    @property
    def indent(self) -> str:
        """White space that the body's lines begin with."""
        first = self.body.lstrip("\n").split("\n", 1)[0]
        return first[: len(first) - len(first.lstrip())]

    def file(self, body: str) -> str:
        """The file with another body."""
        return f"{self.before}{self.prompt}{body}{self.after}"

    def stub(self) -> str:
        """The file with a body that cannot be right."""
        return self.file(self.indent + STUB)

    def code(self) -> str:
        """The whole function."""
        return self.prompt + self.body

    def context(self) -> str:
        """What stands above the function, as much as a model is shown."""
        return self.before[-CONTEXT_CHARACTERS:]


def is_test_file(path: str) -> bool:
    """Whether a file belongs to a repository's tests."""
    return bool(_TEST_FILE.search(path))


def find_items(path: str, source: str, snapshot: str) -> Iterator[ExamItem]:
    """The functions and methods of a Python file that are worth asking for.

    They stand at the top of the file or of a class, their body on lines of its own. A file that
    does not parse has none.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = source.splitlines(keepends=True)
    for name, function in _functions(tree):
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        if not body or body[0].lineno <= function.body[0].lineno - 1:
            continue
        first, last = _first_line(body[0]), function.end_lineno or 0
        if not MIN_LINES <= last - first + 1 <= MAX_LINES or first <= _head_end(function):
            continue
        start = min([function.lineno, *(one.lineno for one in function.decorator_list)])
        identity = hashlib.sha256(f"{snapshot}\0{path}\0{name}".encode()).hexdigest()[:12]
        yield ExamItem(
            id=f"{name}-{identity}",
            snapshot=snapshot,
            path=path,
            qualified=name,
            before="".join(lines[: start - 1]),
            prompt="".join(lines[start - 1 : first - 1]),
            body="".join(lines[first - 1 : last]),
            after="".join(lines[last:]),
        )


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    for node in tree.body:
        if isinstance(node, Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, Function):
                    yield f"{node.name}.{inner.name}", inner


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(int(one.lineno) for one in decorators)])


def _head_end(function: Function) -> int:
    """Last line of what stands before the body: the signature, or the docstring."""
    if ast.get_docstring(function) is not None:
        return function.body[0].end_lineno or function.body[0].lineno
    arguments = [node for node in ast.walk(function.args) if hasattr(node, "end_lineno")]
    if function.returns is not None:
        arguments.append(function.returns)
    return max([function.lineno, *(int(getattr(node, "end_lineno", 0)) for node in arguments)])


def cut_body(text: str, indent: str) -> str:
    """The part of a completion that belongs to a function's body, indented as wanted.

    It ends before the first line that is indented less.
    """
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first and not first.startswith((" ", "\t")):
        # The answer begins at the margin, as chat models like to.
        lines = textwrap.indent(text, indent).split("\n")
    kept: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith(indent):
            break
        kept.append(line.rstrip())
    return "\n".join(kept).rstrip() + "\n"
