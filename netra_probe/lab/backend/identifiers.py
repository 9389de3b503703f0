"""Ids in the shapes that clients of the platform know."""

from __future__ import annotations

import itertools
import secrets
import time
import uuid

_run_numbers = itertools.count(1)


def new_thread_id() -> str:
    """``thread_<32 hex digits>``."""
    return f"thread_{uuid.uuid4().hex}"


def new_message_id() -> str:
    """``msg_<32 hex digits>``."""
    return f"msg_{uuid.uuid4().hex}"


def new_record_id(kind: str) -> str:
    """``<kind>_<32 hex digits>``, for rows that clients seldom see."""
    return f"{kind}_{uuid.uuid4().hex}"


def new_run_id(thread_id: str) -> str:
    """``run_<thread>_<n>_<hex8>``; always minted by the server, since ids chosen by clients collide."""
    return f"run_{thread_id}_{next(_run_numbers)}_{secrets.token_hex(4)}"


def new_connection_id(user_id: str) -> str:
    """``ws_<first 8 of the user id>_<milliseconds>_<hex8>``."""
    return f"ws_{user_id[:8]}_{int(time.time() * 1000)}_{secrets.token_hex(4)}"


def new_request_id() -> str:
    """``req_<32 hex digits>``."""
    return f"req_{uuid.uuid4().hex}"
