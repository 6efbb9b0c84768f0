"""A PostgreSQL server that tests make databases on, where the environment names one."""

from __future__ import annotations

import os
import uuid

from sqlalchemy import URL, create_engine, make_url, text

from aiforge.state import events
from aiforge.state.store import Store

SERVER = os.environ.get("AIFORGE_TEST_DATABASE_URL")
KINDS = ["sqlite", "postgresql"]


def migrate(url: str) -> None:
    """Bring the tables of a database up to date."""
    store = Store(url)
    store.run(events.latest)
    store.close()


class PostgresServer:
    """Makes and drops databases on the server that the environment names."""

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url).set(drivername="postgresql+psycopg")
        self.admin = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self.template = self.create()
        migrate(self.url_of(self.template))

    def url_of(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def create(self, template: str = "template1") -> str:
        name = f"aiforge_{uuid.uuid4().hex}"
        with self.admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return name

    def drop(self, name: str) -> None:
        with self.admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
