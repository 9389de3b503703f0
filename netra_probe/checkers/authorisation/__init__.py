"""No operation on one user's object succeeds for another: users × operations × objects."""
