"""Documents: PDF and notebooks are read, hostile ones are skipped with the reason."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import repository

from aiforge.sources import documents
from aiforge.sources.documents import notebook_text, pdf_text
from aiforge.sources.filters import read_text
from aiforge.sources.sync import list_files, read_manifest, sync_git
from aiforge.storage import Storage


def pdf(*pages: str, bomb: int = 0) -> bytes:
    """A PDF of lines of text, made by hand; ``bomb`` spaces are packed into each page."""
    objects: list[bytes] = []
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, page in enumerate(pages):
        lines = " ".join(f"({line}) Tj 0 -14 Td" for line in page.split("\n"))
        stream = _packed(f"BT /F1 12 Tf 50 700 Td {lines} ET", bomb)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(stream)
            + stream
            + b"\nendstream"
        )
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
        + table
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n" % (len(objects) + 1)
        + b"%d\n%%%%EOF\n" % len(body)
    )


@cache
def _packed(content: str, bomb: int) -> bytes:
    return zlib.compress(content.encode() + b" " * bomb)


def notebook(*cells: tuple[str, str]) -> str:
    return json.dumps(
        {
            "cells": [
                {"cell_type": kind, "source": text.splitlines(keepends=True), "outputs": ["secret"]}
                for kind, text in cells
            ],
            "metadata": {"kernelspec": {"language": "python"}},
        }
    )


def test_the_text_of_a_pdf_is_read_page_by_page() -> None:
    text, reason = pdf_text(pdf("First page.\nIts second line.", "Last page."))
    assert reason is None
    assert text == "First page.\nIts second line.\n\nLast page.\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "PDF that is damaged"),
        (b"%PDF-1.7\n", "PDF that is damaged"),
        (b"\0" * 5000, "PDF that is damaged"),
        (pdf("text")[:150], "PDF that is damaged"),
        (pdf(""), "PDF without text, perhaps scanned"),
    ],
)
def test_pdfs_that_cannot_be_read_say_why(data: bytes, reason: str) -> None:
    assert pdf_text(data) == ("", reason)


def test_a_pdf_may_not_take_for_ever_or_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_SECONDS", 1)
    # 400 pages of 8 MB each, in 3 MB.
    text, reason = pdf_text(pdf(*["text"] * 400, bomb=8 << 20))
    assert text == ""
    assert reason in ("PDF that is damaged", "PDF that takes longer than 1 s to read")
    monkeypatch.setattr(documents, "_SECONDS", 30)
    monkeypatch.setattr(documents, "_MEMORY_BYTES", 16 << 20)
    assert pdf_text(pdf("text")) == ("", "PDF that is damaged")


def test_a_pdf_may_have_only_so_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_PAGES", 2)
    assert pdf_text(pdf("one", "two", "three")) == ("one\n\ntwo\n", None)
    monkeypatch.setattr(documents, "_CHARACTERS", 4)
    assert pdf_text(pdf("one", "two", "three")) == ("one\n\nt\n", None)


def test_a_notebook_becomes_markdown_without_its_outputs() -> None:
    text, reason = notebook_text(
        notebook(("markdown", "# Title\n\nText."), ("code", "x = 1\nprint(x)"), ("raw", "r"))
    )
    assert reason is None
    assert text == "# Title\n\nText.\n\n```python\nx = 1\nprint(x)\n```\n"
    fenced, _ = notebook_text(notebook(("code", "s = '```'")))
    assert fenced.startswith("````python\n")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{}", '{"cells": 1}', '{"cells": [1]}', '{"cells": [{}]}'),
        *('{"cells": [{"source": [1], "cell_type": "code"}]}', "[" * 100_000),
    ],
)
def test_notebooks_that_are_damaged_say_so(text: str) -> None:
    assert notebook_text(text) == ("", "notebook that is damaged")


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["cells", "source", "cell_type", "metadata"]), inner)
        ),
    )
)
def test_any_json_is_a_notebook_or_damaged(value: object) -> None:
    text, reason = read_text("a.ipynb", json.dumps(value).encode())
    assert bool(text) == (reason is None)


def test_documents_are_read_beside_code(tmp_path: Path) -> None:
    root = repository(
        tmp_path / "roots" / "p",
        {
            "a.py": "x = 1\n",
            "guide.pdf": pdf("How to feed a badger."),
            "large.pdf": pdf("text") + b"\0" * (2 << 20),
            "broken.PDF": b"%PDF",
            "study.ipynb": notebook(("markdown", "# Badgers")),
            "image.png": b"\x89PNG",
        },
    )
    storage = Storage(str(tmp_path / "storage"))
    result = sync_git(storage, "src-1", str(root), allowed_roots=[root.parent])
    files = {file.path: file for file in list_files(storage, result.snapshot)}
    assert {path: file.skipped for path, file in files.items() if file.skipped} == {
        "broken.PDF": "PDF that is damaged",
        "image.png": "binary file",
    }
    assert files["guide.pdf"].language == "pdf"
    assert files["study.ipynb"].language == "markdown"
    assert read_manifest(storage, result.snapshot).languages["pdf"] == 2
