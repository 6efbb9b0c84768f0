"""The API in this process, for use cases that a route shows as well."""

from served import api, app, empty_database, only_app, server, settings, world  # noqa: F401
