"""What can go wrong with the lab as a whole."""

from __future__ import annotations


class LabError(RuntimeError):
    """The lab cannot start, went down or is not there; the message names the culprit and the remedy."""
