"""Dataset + base model → adapter."""
