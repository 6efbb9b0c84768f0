"""What commands know of this machine's installation: its home, its settings, its modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiforge.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from aiforge.settings import Settings

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="AIFORGE_HOME",
        help="Directory of database, files and logs; ~/.aiforge unless set.",
    ),
]
Port = Annotated[int | None, typer.Option("--port", envvar="AIFORGE_PORT", help="Port of the API.")]


def installed(module: str) -> Any:
    """A module of the platform, which an installation of the client alone lacks.

    Raises:
        Unavailable: It needs what is not installed (``platform_not_installed``).
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"This installation is the client alone ({error.name} is missing): "
            "pip install 'aiforge[platform]'.",
            code="platform_not_installed",
        ) from error


def local_settings(home: Path | None, port: int | None, root: str | None = None) -> Settings:
    """The settings of the platform on this machine, from variables and options.

    Args:
        root: A repository that a development platform may read beside the working directory.

    Raises:
        InvalidInput: A value is not acceptable.
    """
    from pydantic import ValidationError

    from aiforge.settings import Settings

    given: dict[str, Any] = {}
    if home is not None:
        given["home"] = home.expanduser()
    if port is not None:
        given["port"] = port
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "AIFORGE_" + "_".join(map(str, first["loc"])).upper()
        raise InvalidInput(f"{name}: {first['msg']}.", code="bad_settings") from error
    if settings.env == "development":
        settings.source_roots = [*settings.source_roots, *_own_roots(root)]
    return settings


def log_to_terminal(settings: Settings) -> None:
    """Have this command say on stderr what it would log."""
    from aiforge import logs

    logs.to_terminal(settings)


def _own_roots(root: str | None) -> list[Path]:
    """Who starts a development platform may have it read where they are."""
    places = [Path.cwd()]
    if root is not None and Path(root).is_dir():
        places.append(Path(root))
    return list(dict.fromkeys(place.resolve() for place in places))
