"""The WebSocket core: connections of this process, the event log they read from, limits, heartbeats, resuming.

The event log in Redis is the only source of what a client sees. Each event of a user gets the next *cursor* of that
user; publish/subscribe merely wakes the connections of that user, on whichever backend they are, and each connection
reads on from its own cursor. So nothing is lost, doubled or reordered by a reconnect, a slow reader or a backend that
comes and goes, and buffering for a user who is away needs no second mechanism.

What it promises, area by area of the notebook E4:

a. An event reaches the connections of its user and nobody else's. An event that names another user's connection is
   refused, and its sender is told.
b. The events of a run arrive in the order in which they were sent, numbered without a gap. Only an event that was kept
   uses up a number.
c. A connection is forgotten however it ends, and its end touches no other connection.
d. Each run has the five events that a user's view is built on, on every backend and every time. A run that fails ends
   with agent_error, which says what to do.
e. Every open connection of a user gets every event of that user. The registry that all backends share names the
   connections that there are.
f. An answer goes to the conversation that asked. A request that names another user's thread or run is refused.
g. A user who comes back goes on where they stopped: nothing is lost, nothing comes twice, and nobody else gets it.
h. A connection lasts as long as its session, and belongs to the user of its handshake.
i. A peer that reads slowly or dies delays nobody else, and misses nothing that it can still be sent.
j. Events reach a user's connections at every backend. A listener that is interrupted listens again, and operators see
   that it was.
"""
