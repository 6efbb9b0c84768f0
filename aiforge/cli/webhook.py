"""``aiforge webhook``: who is told of which events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiforge.cli.frame import Cli, command, group
from aiforge.cli.output import ago, facts, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from aiforge.schemas.webhooks import Delivery, Webhook

app = group(
    "Webhooks: who is told of which events.",
    "aiforge webhook add https://ci.example.org/hooks --event 'job.*'",
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of a webhook, as hook-…")]
Limit = Annotated[int, typer.Option("--limit", help="Most rows to show.", min=1, max=500)]
Offset = Annotated[int, typer.Option("--offset", help="Newest rows to leave out.", min=0)]


@command(
    app,
    "add",
    examples="""
    aiforge webhook add https://ci.example.org/hooks --event 'job.*' --event mission.created
    """,
)
def add(
    cli: Cli,
    address: Annotated[str, typer.Argument(metavar="URL", help="Where to send events, https://…")],
    event: Annotated[
        list[str], typer.Option("--event", "-e", help="job.completed, job.* or *; repeat it.")
    ],
    description: Annotated[
        str | None, typer.Option("--description", help="What it is for.")
    ] = None,
) -> None:
    """Have events sent to a URL; prints the secret that verifies them, this once."""
    made = cli.forge.webhooks.create(address, event, description=description)
    cli.show(made, facts([("id", made.id), ("secret", made.secret)]))
    if not cli.as_json:
        cli.say(f"The secret is shown this once. Try it: aiforge webhook test {made.id}")


@command(app, "list", examples="aiforge webhook list")
def list_(cli: Cli, limit: Limit = 50, offset: Offset = 0) -> None:
    """List webhooks, newest first."""
    found = cli.forge.webhooks.list(limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("ID", lambda w: w.id),
                ("URL", lambda w: w.url),
                ("EVENTS", lambda w: " ".join(w.events)),
                ("STATUS", lambda w: str(w.status)),
                ("CREATED", lambda w: ago(w.created_at)),
            ],
            "No webhooks yet. Add one: aiforge webhook add URL --event 'job.*'",
        ),
    )


@command(app, "deliveries", examples="aiforge webhook deliveries hook-…")
def deliveries(cli: Cli, webhook_id: WebhookId, limit: Limit = 50, offset: Offset = 0) -> None:
    """List what was sent to a webhook, and what became of it."""
    found = cli.forge.webhooks.deliveries(webhook_id, limit=limit, offset=offset)
    cli.show(
        found,
        table(
            found,
            [
                ("ID", lambda d: d.id),
                ("EVENT", lambda d: d.event_type),
                ("STATUS", lambda d: str(d.status)),
                ("ATTEMPTS", lambda d: str(len(d.attempts))),
                ("LAST", _last),
                ("CREATED", lambda d: ago(d.created_at)),
            ],
            f"Nothing was sent yet. Try it: aiforge webhook test {webhook_id}",
        ),
    )


@command(app, "test", examples="aiforge webhook test hook-…")
def test(cli: Cli, webhook_id: WebhookId) -> None:
    """Send a ping."""
    sent = cli.forge.webhooks.test(webhook_id)
    cli.show(sent, facts([("id", sent.id), ("status", str(sent.status))]))


@command(app, "replay", examples="aiforge webhook replay hook-… msg-…")
def replay(
    cli: Cli,
    webhook_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="As msg-…")],
) -> None:
    """Send a delivery again, under the same id."""
    sent = cli.forge.webhooks.replay(webhook_id, delivery_id)
    cli.show(sent, facts([("id", sent.id), ("status", str(sent.status))]))


@command(app, "rotate", examples="aiforge webhook rotate hook-…")
def rotate(cli: Cli, webhook_id: WebhookId) -> None:
    """Make a new secret; for a day deliveries bear the old signature, too."""
    made = cli.forge.webhooks.rotate(webhook_id)
    until = f"{made.previous_valid_until:%Y-%m-%d %H:%M} UTC"
    cli.show(made, facts([("secret", made.secret), ("old one goes on until", until)]))


@command(app, "enable", examples="aiforge webhook enable hook-…")
def enable(cli: Cli, webhook_id: WebhookId) -> None:
    """Send to a disabled webhook again, beginning with what happened meanwhile."""
    found = cli.forge.webhooks.enable(webhook_id)
    cli.show(found, _details(found))


@command(app, "delete", examples="aiforge webhook delete hook-…")
def delete(cli: Cli, webhook_id: WebhookId) -> None:
    """Delete a webhook with its deliveries."""
    message = cli.forge.webhooks.delete(webhook_id)
    cli.show(message, lambda console: console.print(f"{webhook_id}: {message.message}"))


def _last(delivery: Delivery) -> str:
    if not delivery.attempts:
        return ""
    last = delivery.attempts[-1]
    return str(last.status or last.error or "")


def _details(webhook: Webhook) -> Callable[[Console], None]:
    return facts(
        [
            ("id", webhook.id),
            ("url", webhook.url),
            ("events", " ".join(webhook.events)),
            ("status", str(webhook.status)),
            ("why", webhook.disabled_reason),
        ]
    )
