"""AI Forge: from a code repository to a language model that knows it."""

__version__ = "0.1.0"
