"""``aiforge key``: API keys and bearer tokens."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, facts, table
from aiforge.errors import InvalidInput

app = group(
    "API keys: who may do what.",
    "aiforge key create ci --scope jobs:read --scope 'datasets:*' --project myproject",
)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of a key, as key-…")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", "-s", help="What it may do: jobs:read, datasets:*, admin; repeat it."),
]
Projects = Annotated[
    list[str] | None,
    typer.Option("--project", "-p", help="Bind it to this project; repeat it for more."),
]
Limit = Annotated[int, typer.Option("--limit", help="Most rows to show.", min=1, max=500)]
Offset = Annotated[int, typer.Option("--offset", help="Newest rows to leave out.", min=0)]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@command(
    app,
    "create",
    examples="""
    aiforge key create ci --scope jobs:read --scope jobs:write --project myproject
    aiforge key create nightly --scope 'datasets:*' --expires 30d
    """,
)
def create(
    cli: Cli,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    scope: Scopes,
    project: Projects = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="After how long: 12h, 30d, 8w; never if absent.")
    ] = None,
) -> None:
    """Make a key and show it, this once."""
    from aiforge.schemas.common import utc_now

    until = None if expires is None else utc_now() + _lifetime(expires)
    made = cli.forge.keys.create(name, scope, projects=project or None, expires_at=until)
    cli.show(made, lambda console: console.print(made.key, markup=False, soft_wrap=True))
    if not cli.as_json:
        cli.say(f"{made.id} is shown this once; send it as: Authorization: Bearer …, or set")
        cli.say("AIFORGE_API_KEY for the command line and the Python client.")


@command(app, "list", examples="aiforge key list")
def list_(cli: Cli, limit: Limit = 50, offset: Offset = 0) -> None:
    """List keys, newest first."""
    found = cli.forge.keys.list(limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("ID", lambda k: k.id),
                ("NAME", lambda k: k.name),
                ("SCOPES", lambda k: " ".join(k.scopes)),
                ("PROJECTS", lambda k: " ".join(k.projects or ["all"])),
                ("EXPIRES", lambda k: f"{k.expires_at:%Y-%m-%d %H:%M}" if k.expires_at else ""),
                ("LAST USED", lambda k: ago(k.last_used_at)),
                ("REVOKED", lambda k: ago(k.revoked_at)),
            ],
            "No keys yet. Make one: aiforge key create NAME --scope jobs:read",
        ),
    )


@command(app, "revoke", examples="aiforge key revoke key-…")
def revoke(cli: Cli, key_id: KeyId) -> None:
    """Have a key never be accepted again."""
    key = cli.forge.keys.revoke(key_id)
    cli.show(key, facts([("id", key.id), ("name", key.name), ("revoked", ago(key.revoked_at))]))


@command(
    app,
    "token",
    examples="""
    AIFORGE_JWT_SECRET_FILE=jwt.key aiforge key token --scope admin --for 10m
    export AIFORGE_API_KEY=$(aiforge key token --scope 'keys:*')
    """,
)
def token(
    cli: Cli,
    scope: Scopes,
    project: Projects = None,
    subject: Annotated[str, typer.Option("--subject", help="Who it speaks for.")] = "operator",
    lifetime: Annotated[str, typer.Option("--for", help="How long it is good: 10m, 12h.")] = "1h",
) -> None:
    """Make a bearer token from the signing key of this machine, for the first key and for tests."""
    from aiforge.schemas.access import GRANTABLE
    from aiforge.services.tokens import Tokens
    from aiforge.settings import Settings

    if unknown := [one for one in scope if one not in GRANTABLE]:
        raise InvalidInput(
            f"{unknown[0]!r} is no scope; choose from {', '.join(sorted(GRANTABLE))}.",
            code="unknown_scope",
        )
    made = Tokens(Settings()).mint(subject, scope, _lifetime(lifetime), project or None)
    cli.show({"token": made}, lambda console: print(made))


def _lifetime(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None or int(match[1]) == 0:
        raise InvalidInput(
            f"{text!r} is no duration; write it as 10m, 12h, 30d or 8w.", code="bad_duration"
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
