"""The server that these tests talk to."""

from deployed import double, gguf, ollama_url, platform  # noqa: F401
from served import (  # noqa: F401
    api,
    app,
    empty_database,
    forge,
    live,
    only_app,
    server,
    settings,
    world,
)
