"""Connections: reconnects, further connections, bad peers, ids that are another user's."""
