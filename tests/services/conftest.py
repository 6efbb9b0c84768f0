"""The API in this process, for use cases that a route shows as well."""

from deployed import alone, double, gguf, ollama_url, platform  # noqa: F401
from served import api, app, empty_database, only_app, server, settings, world  # noqa: F401
