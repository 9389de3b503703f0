"""Credentials: forged, refreshed, ended, and the endpoints that say whose they are."""
