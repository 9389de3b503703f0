"""One scenario on one target: its users, accounts, clean-up, and what they share."""
