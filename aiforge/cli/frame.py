"""What every command shares: the connection, the two kinds of output, errors and exit codes."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, NoReturn, ParamSpec, get_type_hints

import typer

from aiforge.cli.output import printable
from aiforge.errors import AIForgeError

if TYPE_CHECKING:
    from rich.console import Console

    from aiforge.client import AIForge

P = ParamSpec("P")

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="AIFORGE_URL", help="Address of the server.", rich_help_panel="Connection"
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print JSON for programs.", rich_help_panel="Output"),
]


class ExitCode(IntEnum):
    """What a command's exit status means."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """A code with what it means, in words."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    OK = 0, "done"
    FAILURE = 1, "refused or failed; the line on stderr says why"
    USAGE = 2, "the command line is wrong"
    UNREACHABLE = 3, "no server answers"
    INTERRUPTED = 130, "interrupted with Ctrl-C; what runs at the server goes on"


class Cli:
    """A command's connection to the server and to the person.

    Args:
        url: Address of the server.
        as_json: Print one JSON document instead of text for people.
    """

    def __init__(self, url: str = DEFAULT_URL, *, as_json: bool = False) -> None:
        self.url = url
        self.as_json = as_json

    @functools.cached_property
    def forge(self) -> AIForge:
        """The client, made when a command first needs it."""
        from aiforge.client import AIForge

        return AIForge(self.url)

    @functools.cached_property
    def console(self) -> Console:
        """Where text for people goes: stdout, or stderr where stdout carries JSON."""
        from aiforge.cli.terminal import Terminal

        stream = sys.stderr if self.as_json else sys.stdout
        width = None if stream.isatty() else 160
        return Terminal(file=stream, width=width, highlight=False, emoji=False)

    def say(self, text: str) -> None:
        """Tell a person something; programs that read JSON don't see it."""
        self.console.print(text, markup=False, soft_wrap=True)

    def show(self, value: Any, render: Callable[[Console], None]) -> None:
        """Print a result: as JSON where that is asked for, else as ``render`` does."""
        if self.as_json:
            print(json.dumps(to_json(value), indent=2, ensure_ascii=False))
        else:
            render(self.console)

    def report(self, error: AIForgeError) -> None:
        """Print an error to stderr: one line, or its body as JSON."""
        if self.as_json:
            body = {"code": error.code, "message": error.message, "detail": error.detail}
            print(json.dumps({"error": body}, default=str), file=sys.stderr)
        else:
            message = printable(" ".join(error.message.split()))
            typer.secho("error: ", fg=typer.colors.RED, err=True, nl=False)
            typer.echo(message, err=True)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors into their line and exit code."""
        try:
            yield
        except AIForgeError as error:
            self.report(error)
            unreachable = error.code in ("server_unreachable", "server_timeout")
            leave(ExitCode.UNREACHABLE if unreachable else ExitCode.FAILURE)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            leave(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader, `head` for example, has seen enough; nothing is left to be flushed to it.
            sys.stdout = None
            leave(ExitCode.OK)


def leave(code: ExitCode) -> NoReturn:
    """End the command with an exit code."""
    raise typer.Exit(int(code))


def command(
    app: typer.Typer, name: str, *, examples: str = "", **options: Any
) -> Callable[[Callable[Concatenate[Cli, P], None]], Callable[Concatenate[Cli, P], None]]:
    """Register a command whose function takes a ``Cli`` first; ``--url`` and ``--json`` are added.

    Args:
        examples: Command lines that work, shown at the end of the help.
        options: Passed on to ``typer``.
    """

    def decorate(
        function: Callable[Concatenate[Cli, P], None],
    ) -> Callable[Concatenate[Cli, P], None]:
        hints = get_type_hints(function, include_extras=True)
        first, *parameters = inspect.signature(function).parameters.values()
        hints.pop(first.name)

        def run(*args: Any, url: str, as_json: bool, **kwargs: Any) -> None:
            cli = Cli(url, as_json=as_json)
            with cli.guarded():
                function(cli, *args, **kwargs)

        shared = [
            inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_URL),
            inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False),
        ]
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            for parameter in parameters
        ]
        annotated = [
            parameter.replace(annotation=annotation)
            for parameter, annotation in zip(shared, (Url, AsJson), strict=True)
        ]
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__annotations__ = hints | {"url": Url, "as_json": AsJson}
        run.__signature__ = inspect.Signature([*own, *annotated])  # type: ignore[attr-defined]
        epilog = _epilog(examples)
        app.command(name, epilog=epilog, no_args_is_help=_needs_arguments(own), **options)(run)
        return function

    return decorate


def group(help: str, examples: str = "") -> typer.Typer:
    """A noun with its commands."""
    return typer.Typer(help=help, epilog=_epilog(examples), no_args_is_help=True)


def _epilog(examples: str) -> str | None:
    lines = [line.strip() for line in examples.strip().splitlines()]
    # Paragraphs, since the help joins the lines of one.
    return "\n\n".join(["[bold]Examples[/]", *lines]) if lines else None


def _needs_arguments(parameters: list[inspect.Parameter]) -> bool:
    return any(parameter.default is inspect.Parameter.empty for parameter in parameters)


def to_json(value: Any) -> Any:
    """A value of the client as plain JSON, with the keys of the wire."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value
