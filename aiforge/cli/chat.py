"""``aiforge chat``: ask a project's active model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aiforge.cli.frame import Cli, command
from aiforge.cli.output import printable


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "chat",
        examples="""
        aiforge chat myproject "What does parse_config do?"
        git diff | aiforge chat myproject
        aiforge chat myproject            (a conversation; an empty line ends it)
        """,
    )(chat)


def chat(
    cli: Cli,
    model: Annotated[str, typer.Argument(help="A project, or one version by its name or id.")],
    prompt: Annotated[str | None, typer.Argument(help="What to ask.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 gives the likeliest answer.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Longest answer.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the answer's chance.")] = None,
) -> None:
    """Ask a project's active model, once or in a conversation."""
    options = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if cli.as_json:
        answer = cli.forge.chat.complete(model, prompt or "", **options)  # type: ignore[arg-type]
        cli.show(answer, lambda console: None)
        return
    talk: list[dict[str, str]] = []
    while question := prompt or _ask(cli):
        talk.append({"role": "user", "content": question})
        text = ""
        for chunk in cli.forge.chat.stream(model, talk, **options):  # type: ignore[arg-type]
            for choice in chunk.choices:
                print(printable(choice.delta.content or ""), end="", flush=True)
                text += choice.delta.content or ""
        print()
        if prompt:
            return
        talk.append({"role": "assistant", "content": text})


def _ask(cli: Cli) -> str:
    try:
        return cli.console.input("[bold cyan]> [/]").strip()
    except EOFError:
        return ""
