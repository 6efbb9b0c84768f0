"""The servers that these tests talk to."""

from deployed import double, gguf, ollama_url, platform  # noqa: F401
from served import app, empty_database, only_app, server, settings, world  # noqa: F401
