"""Every event of a run arrives once, in order, and only where it was asked for."""
