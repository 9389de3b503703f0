"""The clues that distinguish the faults of the catalogue, row by row.

A rule is a question to the circumstances, what it says when the answer is yes, and the points that follow for and
against faults. The weights are ordinal: 4 and more for what hardly any other fault does, 1 or 2 for what makes one
likelier than its look-alikes, less than nothing for what it does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netra_probe.checkers.attribution.features import Features as C

#: Which checkers are able to see which fault: the catalogue's last column, and what shows as well.
CAUGHT_BY: Mapping[str, frozenset[str]] = {
    fault: frozenset(checkers.split())
    for fault, checkers in {
        "A1": "C6 C5 C1 C2", "A2": "C6", "A3": "C6 C7", "A4": "C6", "A5": "C6 C5 C1 C2 C8", "A6": "C7", "A7": "C6 C9",
        "A8": "C6", "A9": "C5 C6 C1", "X1": "C1 C2 C3 C4 C6 C8 C11 C12", "X2": "C1 C2 C8 C11", "X3": "C2 C12 C1",
        "K5": "C1 C2 C5", "T1": "C1 C2 C5 C11", "G7": "C1 C11", "W14": "C3 C4", "K6": "C11",
        "X4": "C1 C2 C11", "X6": "C2 C4 C12 C1 C3 C8", "W1": "C1 C2 C3 C4 C5 C11", "W2": "C2 C5 C1 C3",
        "W3": "C3 C4", "W4": "C5 C1 C2", "W5": "C8 C1 C2 C3 C4", "W6": "C1 C2 C3", "W8": "C3 C4", "W9": "C3 C4",
        "W10": "C3 C4", "W11": "C7", "W13": "C3 C4 C11", "G1": "C1 C11", "G2": "C1 C4 C11", "G3": "C1 C11",
        "G4": "C4 C3", "G5": "C1 C11", "G6": "C5 C1", "D1": "C5 C1 C2", "D2": "C5 C12", "D3": "C1 C11 C5 C2",
        "D5": "C9", "P1": "C1 C12 C2 C11", "P2": "C9 C12", "P3": "C8 C1 C2", "P4": "C10 C11", "K1": "C1 C2 C8 C11",
        "K2": "C1 C2 C12", "K3": "C1 C2 C8 C11", "F1": "C6 C2", "F4": "C3 C4",
        "A12": "C6", "X7": "C13",
        "D6": "C9 C1", "D7": "C1 C2 C5 C12", "D8": "C1 C2 C5", "P5": "C11", "A11": "C6 C1 C2 C5",
    }.items()
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One observation, and what it says for and against which faults."""

    says: str
    holds: Callable[[C], bool]
    points: Mapping[str, int]


def rule(says: str, holds: Callable[[C], bool], **points: int) -> Rule:
    """A rule in one line."""
    return Rule(says=says, holds=holds, points=points)


# Questions that several clues ask


def _mixed(c: C) -> bool:
    """All foreign content came inside runs of the recipients' own."""
    return bool(c.mixed) and len(c.mixed) == len(c.sightings) + len(c.claimed)


def _next_user(c: C) -> bool:
    following = c.all(lambda seen: seen.surface in ("rest", "auth") and seen.previous)
    # A pool that is out of step hands on what its owner has had before, too; but a cache hands on the first one's only.
    shifted = c.any(lambda seen: seen.cancelled) and not c.one_owner
    return following and (shifted or not c.any(lambda seen: seen.copied)) and not c.everybody


def _cached(c: C) -> bool:
    most = 2 * sum(seen.copied for seen in c.sightings) > len(c.sightings)
    return most and c.all(lambda seen: seen.surface in ("rest", "auth")) and not c.crowded


def _left_over(c: C) -> bool:
    """What looks cached may be what others' settings on a pooled connection show: of several, in the order of use."""
    several = len({seen.owner for seen in c.sightings}) > 1
    return _cached(c) and several and c.any(lambda seen: seen.previous and not seen.pushed)


def _since_cancel(c: C) -> bool:
    return _cached(c) and c.all(lambda seen: seen.after_cancel)


def _first_session(c: C) -> bool:
    """Tools show one user's data to others, one after the other, and also where they were given no id of that user."""
    both = (*c.sightings, *c.claimed)
    calls = all("tool" in seen.action + seen.frame and not seen.overlapping for seen in both)
    return calls and c.one_owner and any(seen.inferred or not seen.attempted for seen in both)


def _completion(c: C) -> bool:
    return _mixed(c) and c.repeated and c.equal_prompts and c.one_owner


def _alike(c: C) -> bool:
    return _mixed(c) and c.repeated and c.similar_prompts and c.one_owner


def _everybody(c: C) -> bool:
    return c.everybody and not _cached(c) and not _completion(c) and not _alike(c)


def _misrouted(c: C) -> bool:
    return c.all(lambda seen: seen.surface == "websocket") and not _mixed(c)


def _unscoped(c: C) -> bool:
    lists = c.all(lambda seen: seen.action.startswith("GET ") and "{" not in seen.action)
    return lists and c.crowded and not c.accumulated


def _last_writer(c: C) -> bool:
    routed = c.mostly(lambda seen: seen.last_writer) and c.any(lambda seen: seen.overlapping)
    return routed and not (c.everybody or c.equal_ids or _mixed(c) or _cached(c))


def _wrong_user(c: C) -> bool:
    """Whole frames of one user's run reach another one who is active, and not everybody."""
    return _misrouted(c) and _simultaneous(c) and not (c.everybody or c.equal_ids)


def _stale(c: C) -> bool:
    return c.all(lambda seen: seen.unasked)


def _of_the_absent(c: C) -> bool:
    """What comes belongs to runs of somebody who has gone; it is not what the background does in the wrong name."""
    return _sequential(c) and c.mostly(lambda seen: seen.away) and c.any(lambda seen: bool(seen.run))


def _chosen(c: C) -> bool:
    """Frames come under ids that clients made equal; the platform's own are all different."""
    return c.equal_ids and not c.collided and c.all(lambda seen: seen.surface == "websocket")


def _made(c: C) -> bool:
    return _sequential(c) and c.all(lambda seen: seen.created)


def _one_recipient(c: C) -> bool:
    owners, recipients = {seen.owner for seen in c.sightings}, {seen.recipient for seen in c.sightings}
    return len(recipients) == 1 and len(owners) > 1 and c.all(lambda seen: bool(seen.frame) and not seen.run)


def _sequential(c: C) -> bool:
    return bool(c.sightings) and not _simultaneous(c)


def _simultaneous(c: C) -> bool:
    return c.mostly(lambda seen: seen.overlapping)


def _tools(c: C) -> bool:
    both = (*c.sightings, *c.claimed)
    return bool(both) and all(seen.frame in ("tool_completed", "tool_executing") for seen in both)


def _needs_id(c: C) -> bool:
    return (bool(c.claimed) or c.has("C5")) and not c.sightings


def _stream(c: C) -> bool:
    return c.has("C5", "foreign stream")


def _claims(c: C, *words: str) -> bool:
    return any(word in seen.attempted for seen in c.claimed if not seen.pushed for word in words)


def _unlisted(c: C) -> bool:
    both = (*c.sightings, *c.claimed)
    return bool(both) and all(seen.attempted.startswith("unlisted route") for seen in both)


def _accepted(*words: str) -> Callable[[C], bool]:
    return lambda c: c.has("C6", "forged credential accepted") and c.named(*(f'"{word}' for word in words))


_BADLY_SIGNED = _accepted("alg ", "claims changed", "signature stripped", "signature of zeros", "psychic", "two serial")


def _own_key(c: C) -> bool:
    words = ("own ", "public key", "jku", "x5", "kid ", "blank key", "key of", "guessable")
    return _accepted(*words)(c) and not _BADLY_SIGNED(c)


_OTHER_PURPOSE = _accepted("aud ", "iss ", "type", "env ", "refresh token", "service token")
_PIECES = _accepted("piece of", "list of")


def _only_pieces(c: C) -> bool:
    return _PIECES(c) and not _OTHER_PURPOSE(c)


def _beside(c: C) -> bool:
    """What is said beside a good token counts; where tokens of any make are good, that alone explains it."""
    words = ("X-", "user_id", "forged token", "forged header")
    return _accepted(*words)(c) and not _BADLY_SIGNED(c) and not _own_key(c)


def _stranger(c: C) -> bool:
    """All acts on other users' objects were made without a user, with a token that has another signature."""
    return bool(c.claimed) and all(
        seen.recipient == "anonymous" and seen.attempted == "changed signature" for seen in c.claimed
    )


def _half(c: C) -> bool:
    """About 1 − 1/n of the questions stay without an end, for several users, whoever reconnected."""
    expected = 1 - 1 / max(1, c.backends)
    several = c.backends > 1 and len(c.lost_by) > 1 and not c.rivalled
    return c.lossy and several and abs(c.loss_rate - expected) <= 0.25


def _whole(c: C) -> bool:
    return c.lossy and c.has("C3", "lost") and not c.has("C3", "gap", "cut short")


def _depends(c: C, what: str) -> bool:
    shown = any(checker == "C11" and kind.startswith(what) for checker, kind in c.kinds)
    return shown and not c.sightings


WHO_SEES_IT = (
    rule("it reaches everybody", _everybody, W1=4, D3=4, X4=4),
    rule("whole frames of others' runs, as they are sent", lambda c: c.everybody and _misrouted(c), W1=3),
    rule("a list without an id in its route shows the rows of others", _unscoped, D3=4),
    rule("each sees all who came before, and none who came after", lambda c: c.accumulated, X4=5, W1=-3, D3=-2),
    rule("it reaches only the next user of the same connection or pool slot", _next_user, X2=4, P1=4, P3=4),
    rule("right after a large body", lambda c: _next_user(c) and c.all(lambda s: s.large), X2=3, P1=-2, P3=-2),
    rule("no large body was needed", lambda c: _next_user(c) and not c.any(lambda s: s.large), X2=-3),
    rule("right after a cancelled request", lambda c: _next_user(c) and c.any(lambda s: s.cancelled), P3=3),
    rule("no request had been cancelled", lambda c: _next_user(c) and not c.any(lambda s: s.cancelled), P3=-2),
    rule("only row sets are concerned, and the stores disagree", lambda c: c.has("C12") and _next_user(c), P1=2),
    rule("answers of another kind than was asked for", lambda c: c.has("C8", "wrong object"), P3=4, P1=-3),
    rule("answers change places", lambda c: c.has("C8", "swapped", "mixed"), W5=4, P3=2, X6=1),
    rule("only the last writer is concerned", _last_writer, X1=4),
    rule("whole frames go to another user who is active", _wrong_user, X1=7, G1=-3, G2=-3),
    rule("frames of one's own runs carry others' user ids", lambda c: bool(c.labels) and not c.sightings, X1=5, X3=2),
    rule("answers stand in another conversation of whoever asked", lambda c: c.has("C13"), X7=8),
    rule("always those of the first user", lambda c: bool(c.labels) and c.first_owner, X3=4),
)

WHAT_IS_SEEN = (
    rule("only the first requester's answer, given again as it was", _cached, K1=5, K3=5),
    rule("or what a pooled connection was left with", _left_over, P1=6),
    rule("only since requests were hung up on", _since_cancel, P3=7, K1=-4, K3=-4, P1=-4),
    rule("nobody needs an account", lambda c: _cached(c) and c.any(lambda s: s.recipient == "anonymous"), K3=3),
    rule("only the first asker's completion, for the same prompt", _completion, G5=8, G1=-2, G3=-2, W1=-4),
    rule("the first asker's completion for similar prompts, too", _alike, G7=10, G5=-2, G1=-2, G3=-2, W1=-4),
    rule("foreign content inside one's own run", lambda c: _mixed(c) and not _tools(c), G1=4, G3=4, W1=-4, X1=-2),
    rule("only results of tools are foreign", lambda c: _mixed(c) and _tools(c) and not c.claimed, G2=6, G6=1),
    rule("all tool calls show one user's data", _first_session, T1=9, K1=-4, K3=-4, G2=-4, X4=-4),
    rule("what one makes comes with others' data in it", _made, X4=5),
    rule("work that several others ordered comes to one user", _one_recipient, X3=9, W6=-4),
    rule("stale data right on connecting", _stale, W6=5, K1=3),
    rule("events of one who is not connected just now", _of_the_absent, W6=5, W1=-4, D3=-4),
    rule("what comes is frames", lambda c: _stale(c) and c.all(lambda s: s.surface == "websocket"), W6=2),
)

WHO_HAD_IT_BEFORE = (
    rule("all of it was a former user's, whose address the one who sees it has registered again",
         lambda c: c.inherited, D7=14),
)  # fmt: skip

WHEN_IT_HAPPENS = (
    rule("only between equal ids at the same time", lambda c: c.equal_ids and not _next_user(c), W5=4, X6=4, X1=-2),
    rule("the platform itself gave out equal ids", lambda c: c.collided, X6=6),
    rule("only between users whose ids begin alike", lambda c: c.crafted, K2=6, A5=4, K1=-4, K3=-4),
    rule("only ids that clients chose are equal", _chosen, W5=3),
    rule(
        "also one after the other",
        lambda c: _sequential(c) and not c.equal_ids,
        X4=1,
        W6=1,
        K1=1,
        K3=1,
        X1=-4,
        G1=-4,
        G2=-4,
        W5=-4,
    ),
    rule("what was said before is remembered", lambda c: _sequential(c) and _mixed(c), G3=2),
    rule("only at the same time", _simultaneous, X1=2, G1=2, G2=2, W5=1, X4=-2, G3=-3, W6=-3, K1=-1, K3=-1),
)

WITH_CLAIMED_IDS = (
    rule("it needs an id that the attacker supplies", _needs_id, D1=3, D2=3, D3=2, W2=3, W4=3, G6=3),
    rule("an object is read by its id", lambda c: _needs_id(c) and c.has("C5", "foreign read"), D1=4),
    rule("an object is changed", lambda c: c.has("C5", "foreign write", "refused write took effect"), D2=5),
    rule("a stream is opened by its id", _stream, W4=4, W2=4),
    rule("the id was claimed in a question", lambda c: _stream(c) and _claims(c, "claim", "question"), W2=2),
    rule("the id was used to subscribe or switch", lambda c: _stream(c) and _claims(c, "subscri", "switch"), W4=2),
    rule("only through a route that no description lists", _unlisted, D8=14, D1=-4),
    rule("a tool did it with more rights than its caller", lambda c: bool(c.claimed) and _tools(c), G6=6),
    rule("equal idempotency keys of two users are one", lambda c: _claims(c, "idempotency key"), K5=12),
    rule("a user id beside the token is honoured", lambda c: _claims(c, "user_id", "user id", "identity"), A9=8),
    rule("a header or parameter beats the token", _beside, A9=8),
)

WITH_CREDENTIALS = (
    rule("badly signed tokens are accepted", _BADLY_SIGNED, A1=8, A5=-8),
    rule("tokens signed with another key are accepted, and no others", _own_key, A2=6),
    rule("a token with another end than the real one's lets strangers in", _stranger, A1=8, A5=8, D1=-8, D2=-8),
    rule("tokens are accepted outside their time", _accepted("exp", "nbf ", "iat "), A3=6),
    rule("tokens for another purpose are accepted", _OTHER_PURPOSE, A4=6),
    rule("pieces of the right issuer or audience are accepted, and nothing else", _only_pieces, A12=8),
    rule("a token is taken for one that begins alike", _accepted("same beginning"), A5=8),
    rule("a valid token is answered as another user",
         lambda c: c.has("C6", "valid credential answered as another"), A5=3, A8=2, X1=1),
    rule("a socket acts for whoever's token was shown on it, and carries another's events",
         lambda c: c.has("C6", "valid credential answered as another") and c.named("token in a message"), A11=10),
    rule("a login in progress ends in another account", lambda c: c.named("oauth", "OAuth", "callback"), A8=6),
    rule("what works once worked twice", lambda c: c.has("C6", "single-use credential accepted twice"), A7=6),
    rule("a bypass for development is open", _accepted("bypass", "development"), F1=8),
    rule("connections are bound to a shared account", lambda c: c.has("C2", "identity not bound"), F1=3),
    rule("requests go on after logout or revocation",
         lambda c: c.has("C7", "credential works after its end") and not c.named("after expire"), A6=6),
    rule("requests go on after expiry",
         lambda c: c.has("C7", "credential works after its end") and c.named("after expire"), A3=6),
    rule("a live socket outlives its credential",
         lambda c: c.has("C7", "socket outlives its credential", "socket alive after the end"), W11=6),
)  # fmt: skip

WITH_LOSSES = (
    rule("gaps in a user's own runs, and nothing foreign", lambda c: c.lossy, W8=3, W3=3, F4=3, W13=3),
    rule("events are missing inside runs that arrive", lambda c: c.lossy and c.has("C3", "gap"), W8=3, F4=1, W3=-1),
    rule("the one who loses them reads slowly", lambda c: c.lossy and bool(c.slowed & c.lost_by), W8=3),
    rule("only after a second connection of the user's",
         lambda c: c.lossy and c.rivalled and not c.others_died, W3=5, F4=-2),
    rule("no second connection was in the way", lambda c: c.lossy and not c.rivalled, W3=-4),
    rule("with the death of another's connection", lambda c: c.lossy and c.others_died, W13=5, W3=-1, W8=-2, F4=-2),
    rule("beside a dead connection of their own", lambda c: c.lossy and c.own_died and not c.others_died, W13=5, F4=-2),
    rule("no other connection died", lambda c: c.lossy and not c.others_died and not c.own_died, W13=-4),
    rule("only what another backend works on than the one listened to", lambda c: c.crossed, F4=8, W3=-4, W13=-4),
    rule("about 1 − 1/n of the runs on n backends are lost", _half, F4=5),
    rule("only connections from before a dependency was interrupted", lambda c: c.lossy and c.outlived,
         W14=12, W3=-4, F4=-4, W13=-4),
    rule("there is one backend only", lambda c: c.lossy and c.backends == 1, F4=-4),
    rule("whole runs are lost, and nothing of those that arrive", _whole, F4=2, W3=1, W13=1, W8=-1),
    rule("what was owed to a living connection came when its user connected again",
         lambda c: c.has("C3", "held back"), W3=6, F4=-2),
    rule("events come of a run that nobody asked for", lambda c: c.has("C3", "unexpected"), W6=4, W1=1),
    rule("a run ends twice, or goes on after its end",
         lambda c: c.has("C4", "second end", "event after the end") and not c.has("C3"), G2=3, G4=3),
    rule("events arrive again", lambda c: c.has("C3", "duplicate"), W9=6),
    rule("events of one run overtake each other", lambda c: c.has("C3", "reordered"), W10=6),
    rule("a run ends that its user did not cancel", lambda c: c.has("C4", "cancelled by nobody"), G4=8),
    rule("tool calls and results do not pair",
         lambda c: c.has("C4", "tool without start", "tool without end") and not c.has("C3"), G2=6),
)  # fmt: skip

IN_STORES = (
    rule("rows belong to somebody else than their content",
         lambda c: (c.has("C12", "owner mismatch") or c.misplaced) and not c.has("C5"), X3=5, P1=2, X1=1),
    rule("a key names two users", lambda c: c.has("C12", "key of two users"), K2=6),
    rule("updates are lost",
         lambda c: c.has("C9", "lost update", "lost append", "write skew (G2)", "read skew (G-single)"), D5=6, P2=1),
    rule("what can be had once was granted twice", lambda c: c.has("C9", "double spend"), D5=5),
    rule("and that was a refresh token", lambda c: c.has("C9", "double spend") and c.named("refresh"), A7=8),
    rule("a balance and its entries do not add up, whoever's acts they are",
         lambda c: c.has("C9", "books do not balance"), D6=14),
    rule("uncommitted data is seen",
         lambda c: c.has("C9", "aborted read (G1a)", "intermediate read (G1b)", "dirty write (G0)"), P2=6),
    rule("something held is not given back", lambda c: c.has("C10"), P4=6),
    rule("users are told to slow down for what another has used up",
         lambda c: c.has("C11", "refused for another's load"), P5=8),
    rule("how soon an answer begins tells what others have asked",
         lambda c: _depends(c, "wait depends on secrets") and c.named("the first piece"), K6=8),
    rule("only how long one waits depends on others", lambda c: _depends(c, "wait"), P4=2, W13=2),
    rule("what one sees depends on others, but shows nothing of them", lambda c: _depends(c, "depends"), G5=2, D3=2),
)  # fmt: skip

RULES: tuple[Rule, ...] = (
    *WHO_SEES_IT,
    *WHAT_IS_SEEN,
    *WHO_HAD_IT_BEFORE,
    *WHEN_IT_HAPPENS,
    *WITH_CLAIMED_IDS,
    *WITH_CREDENTIALS,
    *WITH_LOSSES,
    *IN_STORES,
)
