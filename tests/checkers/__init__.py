"""What the checkers find, and what they leave alone."""
