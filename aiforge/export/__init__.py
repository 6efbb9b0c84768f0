"""Adapters and base models become GGUF files, compared with transformers."""
