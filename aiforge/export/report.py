"""What was compared of an export, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def markdown(title: str, report: Mapping[str, Any]) -> str:
    """The report of an export (``ExportReport.to_dict``) as Markdown."""
    lines = [
        f"# {title}",
        "",
        "The file was loaded by the library that will run it, and compared with transformers.",
        "",
        "| what | measured | at most | | |",
        "|---|---|---|---|---|",
    ]
    for check in report["checks"]:
        verdict = "passed" if check["passed"] else "**failed**"
        lines.append(
            f"| {check['name']} | {check['measured']:.3g} {check['unit']} | {check['bound']:.3g} "
            f"| {verdict} | {check['detail']} |"
        )
    lines += ["", "| file | bytes | SHA-256 |", "|---|---|---|"]
    for file in report["files"]:
        lines.append(f"| {file['name']} | {file['size']:,} | `{file['sha256']}` |")
    lines.append("")
    if report["stop_tokens"]:
        stops = ", ".join(f"`{token}`" for token in report["stop_tokens"])
        lines.append(f"- An answer ends at {stops}.")
    if report["context_length"]:
        lines.append(f"- The context is {report['context_length']} tokens.")
    lines += [f"- {note}" for note in report["notes"]]
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report["seconds"].items())
    lines.append(f"- Seconds: {spent}.")
    return "\n".join(lines) + "\n"
