"""What concurrent transactions did has a serial explanation."""
