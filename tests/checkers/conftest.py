"""How hypothesis draws the settings of the model platform."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .model_wire import DIALECTS, POLICIES, Settings


def deployments() -> SearchStrategy[Settings]:
    """Any legal deployment and any legal use of it."""
    return st.builds(
        Settings,
        users=st.integers(2, 4),
        tabs=st.integers(1, 2),
        runs=st.integers(1, 3),
        dialect=st.sampled_from(DIALECTS),
        policy=st.sampled_from(POLICIES),
        numbered=st.booleans(),
        tools=st.integers(0, 2),
        reconnects=st.booleans(),
        deadlines=st.booleans(),
        attempts=st.booleans(),
        quotes=st.booleans(),
        cancels=st.booleans(),
    )


def seeds() -> SearchStrategy[Random]:
    """Randomness that hypothesis controls, so that it can shrink an interleaving."""
    return st.randoms(use_true_random=False)
