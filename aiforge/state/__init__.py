"""Truth: tables, lifecycles, and the operations that change them, one transaction each."""
