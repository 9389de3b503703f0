"""The WebSocket core: connections of this process, the event log they read from, limits, heartbeats, resuming.

The event log in Redis is the only source of what a client sees. Each event of a user gets the next *cursor* of that
user; publish/subscribe merely wakes the connections of that user, on whichever backend they are, and each connection
reads on from its own cursor. So nothing is lost, doubled or reordered by a reconnect, a slow reader or a backend that
comes and goes, and buffering for a user who is away needs no second mechanism.
"""
