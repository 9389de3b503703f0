"""From what was found, and how, to the faults that look like that."""
