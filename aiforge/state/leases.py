"""Who writes to the database: one platform at a time, whatever another one believes.

The holder renews its lease long before it ends; another platform may take it once it has ended,
and the same one at once, since Ray runs one state per platform. The machines' clocks must agree to
within a few seconds, as they do with NTP.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, String, Table, select

from aiforge.errors import Unavailable
from aiforge.state.ops import write
from aiforge.state.schema import Moment, metadata, now, upsert

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(500), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

LASTS = timedelta(seconds=30)
RENEW_AFTER = timedelta(seconds=10)
TAKEN = "state_taken"

_WRITER = "writer"
_FIND = select(leases.c.holder, leases.c.expires_at).where(leases.c.name == _WRITER)


class Lease:
    """One process's right to write.

    Args:
        holder: Names the platform, to itself and to people.
    """

    def __init__(self, holder: str, clock: Callable[[], datetime] = now) -> None:
        self.holder = holder
        self._clock = clock
        self._renewed: datetime | None = None

    @property
    def is_due(self) -> bool:
        """Whether it was not yet taken, or has to be renewed before the next write."""
        return self._renewed is None or self._clock() - self._renewed >= RENEW_AFTER

    def renew(self, connection: Connection) -> datetime:
        """Take or renew it; to be noted by ``note`` once the transaction is committed.

        Raises:
            Unavailable: Another platform holds it (``state_taken``).
        """
        moment = self._clock()
        row = connection.execute(_FIND.with_for_update()).one_or_none()
        if row is not None and row.holder != self.holder and row.expires_at > moment:
            self._renewed = None
            raise Unavailable(
                f"Another platform ({row.holder}) writes to this database. Stop it there, or give "
                "this one a database of its own by AIFORGE_DATABASE_URL.",
                code=TAKEN,
                retryAfter=max(1, int((row.expires_at - moment).total_seconds())),
            )
        upsert(
            connection,
            leases,
            [{"name": _WRITER, "holder": self.holder, "expires_at": moment + LASTS}],
        )
        return moment

    def note(self, moment: datetime) -> None:
        """It was renewed at this moment."""
        self._renewed = moment


@write
def confirm(connection: Connection) -> None:
    """Change nothing; it succeeds where the state may write."""
