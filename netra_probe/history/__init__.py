"""What happened, written down once: operations, frames, canaries, redaction and the append-only store."""
