"""Which language a file is in, and its syntax tree; grammars are loaded on first use."""

from __future__ import annotations

import ctypes
import re
import sys
import time
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query, Tree

_GRAMMARS = {
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "go": ("tree_sitter_go", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "markdown": ("tree_sitter_markdown", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "ruby": ("tree_sitter_ruby", "language"),
    "shell": ("tree_sitter_bash", "language"),
    "python": ("tree_sitter_python", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}

_EXTENSIONS = {
    "c": "c",
    "h": "c",
    "cc": "cpp",
    "cpp": "cpp",
    "cu": "cpp",
    "cuh": "cpp",
    "cxx": "cpp",
    "hh": "cpp",
    "hpp": "cpp",
    "hxx": "cpp",
    "inl": "cpp",
    "ipp": "cpp",
    "go": "go",
    "java": "java",
    "cjs": "javascript",
    "js": "javascript",
    "jsx": "javascript",
    "mjs": "javascript",
    "cs": "csharp",
    "ipynb": "markdown",
    "markdown": "markdown",
    "md": "markdown",
    "pdf": "pdf",
    "php": "php",
    "rb": "ruby",
    "bash": "shell",
    "sh": "shell",
    "py": "python",
    "pyi": "python",
    "pyw": "python",
    "rs": "rust",
    "cts": "typescript",
    "mts": "typescript",
    "ts": "typescript",
    "tsx": "tsx",
}

_INTERPRETERS = {
    "bash": "shell",
    "dash": "shell",
    "node": "javascript",
    "perl": "perl",
    "python": "python",
    "ruby": "ruby",
    "sh": "shell",
    "zsh": "shell",
}

# What identify knows of a file beside its language.
_NOT_LANGUAGES = frozenset({"binary", "text", "file", "header", "image", "non-executable"})

_CPP_HEADER = re.compile(r"^\s*(namespace\b|template\s*<|class\s+\w+\s*[:{]|using\s)", re.MULTILINE)
_SHEBANG = re.compile(r"#!\s*\S*/(?:env\s+(?:-S\s+)?)?([a-z]+)[\d.]*(?:\s|$)")

PARSE_SECONDS = 10.0
"""Default limit on the time that one file may take to parse."""


def language_of(path: str, content: str = "") -> str | None:
    """The language of a file by its name and, where that leaves it open, by its content.

    Returns:
        A lower-case name (``python``, ``cpp``, ``markdown``, ``yaml``, …), ``text`` for plain
        text, or ``None`` where nothing is known.
    """
    name = path.rpartition("/")[2]
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if extension == "h" and _CPP_HEADER.search(content):
        return "cpp"
    if known := _EXTENSIONS.get(extension):
        return known
    tags = tags_of(name)
    if "binary" in tags:
        return None
    if names := sorted(tags - _NOT_LANGUAGES):
        return "text" if names[0] == "plain-text" else names[0]
    if shebang := _SHEBANG.match(content):
        return _INTERPRETERS.get(shebang.group(1))
    return None


def tags_of(path: str) -> set[str]:
    """What ``identify`` knows of a file by its name: ``{"text", "python"}``, ``{"binary", …}``."""
    from identify import identify

    return set(identify.tags_from_filename(path))


def has_grammar(language: str | None) -> bool:
    """Whether ``parse`` knows the language."""
    return language in _GRAMMARS


def parse(language: str, source: bytes, seconds: float = PARSE_SECONDS) -> Tree | None:
    """The concrete syntax tree of UTF-8 source; faulty code gives a tree with error nodes.

    Returns:
        ``None`` where the language has no grammar or parsing took longer than ``seconds``.
    """
    if not has_grammar(language):
        return None
    from tree_sitter import Parser

    deadline = time.monotonic() + seconds
    view = memoryview(source)
    parts: list[bytes] = []

    def read(offset: int, _: object) -> bytes:
        parts.append(bytes(view[offset : offset + _PART]))
        return parts[-1]

    try:
        return Parser(_grammar(language)).parse(
            read, progress_callback=lambda _offset, _error: time.monotonic() > deadline
        )
    except ValueError:
        return None
    finally:
        _let_go(parts)


def _let_go(parts: list[bytes]) -> None:
    """Give up the references to what a parser has read, of which tree-sitter keeps one of each.

    Without it (0.26.1 and before) no source would ever leave memory. A source that is given as a
    whole is not kept, but then parsing cannot be stopped. Nobody else knows the parts, so that
    whatever exceeds the references of a value that no parser saw is what was not given up.
    """
    # Shorter ones are the interpreter's own.
    own = [bytes(_SHARED), *(part for part in parts if len(part) >= _SHARED)]
    parts.clear()
    counts = [sys.getrefcount(part) for part in own]
    for part, count in zip(own, counts, strict=True):
        for _ in range(count - counts[0]):
            _release(part)


_PART = 1 << 16
_SHARED = 2  # bytes: from so many on each value is an object of its own
_release = ctypes.pythonapi.Py_DecRef
_release.argtypes = [ctypes.py_object]
_release.restype = None


@cache
def _grammar(language: str) -> Language:
    from tree_sitter import Language

    module, function = _GRAMMARS[language]
    return Language(getattr(import_module(module), function)())


def captures(language: str, tree: Tree, query: str) -> dict[str, list[Node]]:
    """Nodes that a tree-sitter query finds, by capture name, each in the order of the source."""
    from tree_sitter import QueryCursor

    found = QueryCursor(_query(language, query)).captures(tree.root_node)
    return {
        name: sorted(nodes, key=lambda node: (node.start_byte, -node.end_byte))
        for name, nodes in found.items()
    }


@cache
def _query(language: str, source: str) -> Query:
    from tree_sitter import Query

    return Query(_grammar(language), source)
