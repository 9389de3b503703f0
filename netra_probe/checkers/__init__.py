"""C1 … C12: history in, findings out; no I/O."""
