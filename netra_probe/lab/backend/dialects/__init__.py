"""Dialects: a lab that is in good order and yet speaks like other deployments (netra-wire §4 to §6).

A variant is chosen at start and installed into the backend's composition root, before any fault, so both combine:

    start_lab(faults=("W1",), variant=Variant(dialect="manager", handshake="http-403"))

``variant``     what can be chosen
``envelopes``   an event in every known envelope
``boundary``    the edge of the process where frames are rewritten, and where a socket can be refused otherwise or die
``identity``    sockets that are bound to a demonstration user
"""

from netra_probe.lab.shared.variant import Variant, VariantProblem

__all__ = ["Variant", "VariantProblem"]
