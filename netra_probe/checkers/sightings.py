"""One user's data seen by another, with the circumstances under which it first came."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Data of ``owner`` seen by ``recipient``.

    Arguments:
        secret: the canary, or the id, that was seen; ``name`` says which, such as ``canary`` or ``run_id``.
        overlapping: the owner was active at the same time.
        run: the run or thread that the frame says it belongs to.
        copied: the owner had got an answer with the very same secrets to the same request before.
        texts: of a frame, the texts in which a canary stands, hashed.
        marks: the request and run ids under which it came; ``prompts``: what the recipient was just asking.
        reachable: how many others could have seen it at that moment: with an open socket, for a frame.
        away: a frame, while the owner had no open connection.
        previous: the owner had the request before this one on the same backend.
        large, cancelled: that request before had a large body, or was cancelled.
        unasked: it came on a fresh connection before its user had sent anything there, while the owner was idle.
        attempted: it answers an act that names another user's id, or was sent with one (``pushed``), or
            comes after the recipient had named one (``inferred``).
        after_cancel: a request had been hung up on, at some time before.
        created: it came in the answer to making something.
        last_writer: the owner, or the recipient, was the last of all users to begin something.
    """

    index: int
    owner: str
    recipient: str
    surface: str
    action: str
    secret: str
    name: str = "canary"
    frame: str = ""
    run: str = ""
    overlapping: bool = False
    copied: bool = False
    previous: bool = False
    large: bool = False
    cancelled: bool = False
    unasked: bool = False
    attempted: str = ""
    pushed: bool = False
    inferred: bool = False
    after_cancel: bool = False
    created: bool = False
    last_writer: bool = False
    texts: tuple[int, ...] = ()
    marks: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    reachable: int = 0
    away: bool = False
