"""The auth service: accounts, passwords, tokens, sessions, OAuth. Its own process, its own schema, HTTP only.

It imports nothing of the backend and starts without it.
"""
