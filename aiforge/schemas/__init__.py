"""Wire and domain types, a module per resource; no torch, no ray."""
