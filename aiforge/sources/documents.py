"""Text of documents that are not text: PDF by pdfium, notebooks by their cells.

A PDF is read by a process of its own, with limits on time, memory, pages and text: pdfium is a
large program in C++ that is handed what anyone may have made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

MAX_DOCUMENT_BYTES = 32 << 20
"""Larger documents are skipped."""

_SECONDS = 30
_MEMORY_BYTES = 2 << 30
_PAGES = 1000
_CHARACTERS = 2_000_000

_READER = """
import resource, sys
seconds, memory, pages, characters = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import pypdfium2
document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
left = characters
for number in range(min(len(document), pages)):
    text = document[number].get_textpage().get_text_bounded()[:left]
    left -= len(text)
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\\f")
    if not left:
        break
"""


def kind_of(path: str) -> str | None:
    """``pdf`` or ``notebook``; ``None`` for what is read as text or not at all."""
    extension = path.rpartition(".")[2].lower()
    return {"pdf": "pdf", "ipynb": "notebook"}.get(extension)


def pdf_text(data: bytes) -> tuple[str, str | None]:
    """The text of a PDF, pages parted by blank lines, and why it has none."""
    limits = (_SECONDS, _MEMORY_BYTES, _PAGES, _CHARACTERS)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _READER, *map(str, limits)],
            input=data,
            capture_output=True,
            timeout=_SECONDS * 2,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"PDF that takes longer than {_SECONDS} s to read"
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return "", "PDF with a password" if "password" in last.lower() else "PDF that is damaged"
    pages = done.stdout.decode("utf-8", "replace").split("\f")
    text = "\n\n".join(page.strip() for page in map(_plain, pages) if page.strip())
    return (f"{text}\n", None) if text else ("", "PDF without text, perhaps scanned")


def _plain(page: str) -> str:
    text = page.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    # Where a word was parted at the end of a line pdfium says so.
    return text.replace("\ufffe\n", "").replace("\ufffe", "").replace("\x02", "")


def notebook_text(text: str) -> tuple[str, str | None]:
    """A notebook as Markdown, its code in fences and without outputs; and why it has none."""
    try:
        notebook = json.loads(text)
        language = _language(notebook)
        cells = [_cell(cell, language) for cell in notebook["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", "notebook that is damaged"
    shown = "\n\n".join(cell for cell in cells if cell)
    return (f"{shown}\n", None) if shown else ("", "empty file")


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata") or {}
    named = (metadata.get("kernelspec") or {}).get("language") or "python"
    return named if isinstance(named, str) and named.isalnum() else ""


def _cell(cell: dict[str, Any], language: str) -> str:
    source = cell["source"]
    text = "".join(source) if isinstance(source, list) else source
    text = text.strip("\n")
    if not text.strip():
        return ""
    if cell["cell_type"] == "markdown":
        return str(text)
    if cell["cell_type"] != "code":
        return ""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
