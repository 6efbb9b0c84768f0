"""The API as production runs it."""

from front import admin, front, private_file, production, token  # noqa: F401
from served import (  # noqa: F401
    api,
    app,
    empty_database,
    only_app,
    server,
    settings,
    world,
)
