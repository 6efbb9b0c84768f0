"""Base models, tokenizers, prompts and masks, LoRA and PiSSA."""
