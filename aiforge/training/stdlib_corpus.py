"""Text for pretraining: the sources of Python's standard library as they are installed.

Everything is deterministic for one Python version: which files, which of them are held out,
how they are cut, and which questions are asked about them.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EXCLUDED = ("site-packages/", "dist-packages/", "encodings/", "pydoc_data/", "lib2to3/tests/data/")
_MAX_FILE_BYTES = 400_000
_HELD_OUT_ONE_IN = 50


@dataclass(frozen=True)
class SourceText:
    """One file: its path below the library's root, and its text."""

    path: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Files to train on and files held out, and a hash of all of them."""

    train: list[SourceText]
    held_out: list[SourceText]
    sha256: str


def bucket(key: str, buckets: int) -> int:
    """A number below ``buckets`` that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % buckets


def read_corpus(root: Path | None = None, test_share: float = 1.0) -> Corpus:
    """The library's modules.

    Args:
        root: Directory of the library; the running interpreter's when absent.
        test_share: Share of the library's own test files to include, chosen by path.
    """
    base = root or Path(sysconfig.get_path("stdlib"))
    digest = hashlib.sha256()
    train: list[SourceText] = []
    held_out: list[SourceText] = []
    for source in _files(base):
        if is_test(source.path) and bucket("test:" + source.path, 1000) >= test_share * 1000:
            continue
        digest.update(source.path.encode() + b"\0" + source.text.encode() + b"\0")
        chosen = held_out if bucket(source.path, _HELD_OUT_ONE_IN) == 0 else train
        chosen.append(source)
    return Corpus(train, held_out, digest.hexdigest())


def read_files(root: Path) -> list[SourceText]:
    """Every readable Python file below a directory, in the order of their paths."""
    return list(_files(root))


def _files(base: Path) -> Iterator[SourceText]:
    for path in sorted(base.rglob("*.py"), key=lambda item: item.relative_to(base).as_posix()):
        name = path.relative_to(base).as_posix()
        if any(part in name for part in _EXCLUDED) or path.stat().st_size > _MAX_FILE_BYTES:
            continue
        try:
            with tokenize.open(path) as stream:
                text = stream.read()
        except (SyntaxError, UnicodeDecodeError):
            continue
        if text.strip():
            yield SourceText(name, text)


def is_test(path: str) -> bool:
    """Whether a path of the library belongs to its tests."""
    return path.startswith("test/") or "/test/" in path or "_test/" in path or "/tests/" in path


Message = dict[str, str]


def conversations(source: SourceText) -> Iterator[list[Message]]:
    """Questions about one file whose answers are in it: purpose, signature, code, by context."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError):
        return
    lines = source.text.splitlines()
    module = source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for node, name in _definitions(tree):
        docstring = ast.get_docstring(node)
        if not docstring or len(docstring) > 1500:
            continue
        code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        yield _conversation(node, f"{module}.{name}", source.path, docstring, code)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(tree: ast.Module) -> Iterator[tuple[Definition, str]]:
    for node in tree.body:
        if isinstance(node, Definition):
            yield node, node.name
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield member, f"{node.name}.{member.name}"


def _conversation(
    node: Definition, name: str, path: str, docstring: str, code: str
) -> list[Message]:
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    signature = code.split('"""', 1)[0].rstrip()
    fenced = f"```python\n{code}\n```"
    choice = bucket(f"{path}:{name}", 4) if len(code) < 2500 else 0
    if choice == 0:
        return _turns(f"What does the {kind} `{name}` do?", docstring)
    if choice == 1:
        answer = f"```python\n{signature}\n```"
        return _turns(f"What is the signature of `{name}` in `{path}`?", answer)
    if choice == 2:
        first = docstring.split("\n\n", 1)[0]
        return _turns(f"Write the {kind} `{name}`: {first}", fenced)
    return _turns(
        f"Answer from the context.\n\nContext:\n\n`{path}`\n{fenced}\n\n"
        f"Question: What does the {kind} `{name}` do?",
        docstring,
    )


def _turns(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
