"""Agents: triage reads the request and hands it to a specialist, who gathers data, asks the model and answers."""
