"""How acts mark the requests by which a rule of hygiene is tried: ``detail.hygiene`` names the trial."""

from __future__ import annotations

#: The key of the mark in an operation's detail.
MARK = "hygiene"

# Sessions
REUSED = "refresh token used before"
AFTER_REUSE = "refresh token whose predecessor came back"
# Sockets
OWN_HANDSHAKE = "own handshake"
FOREIGN_ORIGIN = "foreign origin"
NO_TOKEN = "no token"
QUERY_TOKEN = "token in the query"
FULL_SIZE = "a message of almost the announced size"
OVERSIZED = "a message over the announced size"
AFTER_SIZES = "after the sizes"
# Requests
CROSS_ORIGIN = "request from another origin"
MALFORMED = "malformed"
PLAIN = "plain text where the malformed comes"
BAD_TOKEN = "bad token"
QUOTA = "within the announced quota"
OVER_QUOTA = "over the announced quota"
# Accounts
OTHER_CASE = "address in another case"
SHORT_PASSWORD = "short password"
COMMON_PASSWORD = "common password"
LONG_PASSWORD = "long password"
BEGINNING = "beginning of the password"
OWN_PASSWORD = "own password"
WRONG_PASSWORD = "wrong password"
UNKNOWN_ACCOUNT = "unknown account"
# Health
HEALTH = "health"
USE = "use of the service"
