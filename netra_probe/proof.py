"""Which faults have been seen to turn which case red: what makes a green case worth something.

A case that no fault turns red proves nothing and does not count. ``netra-probe detect --by-case`` shows the table of a
run; what stands here was seen in one, and ``netra-probe detect --claimed`` asks for it again.
"""

from __future__ import annotations

#: Case → published faults that turn it red on the lab, the most telling first.
PROOF: dict[str, tuple[str, ...]] = {}
