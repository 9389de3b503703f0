"""Runs: their questions, the automaton of their events, liveness, cancellations."""
