"""What is owed, as data: scenarios and their cases, faults that prove them, components and their public calls."""
