"""Evidence that a person reads: text that carries everything, HTML that dresses it, and pictures of the same data."""
