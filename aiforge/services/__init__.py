"""The use cases, a module per resource: what API, CLI and batch share."""
