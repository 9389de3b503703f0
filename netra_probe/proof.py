"""Which faults have been seen to turn which case red: what makes a green case worth something.

A case that no fault turns red proves nothing and does not count. ``netra-probe detect --by-case`` shows the table of a
run; what stands here was seen in one, and ``netra-probe detect --claimed`` asks for it again.
"""

from __future__ import annotations

#: Case → published faults that turn it red on the lab, the most telling first.
PROOF: dict[str, tuple[str, ...]] = {
    "A1.1": ("A4", "A5", "A1"),
    "A1.2": ("X2", "X3", "A5", "A4", "A1"),
    "A1.3": ("A1", "A4", "A5", "A6"),
    "A1.4": ("A6", "A7"),
    "A1.5": ("X1", "A5", "A4", "A1"),
    "A2.1": ("W3", "W1", "X6"),
    "A2.2": ("W5", "X6", "W1"),
    "A2.3": ("W2", "A9", "A4", "X6", "W1"),
    "A2.4": ("W11",),
    "A2.5": ("X6", "W2", "A9", "W1"),
    "A3.1": ("W3", "W1"),
    "A3.2": ("F4", "W1"),
    "A3.3": ("W4", "W1"),
    "A3.4": ("W6", "W11", "W1"),
    "A3.5": ("W1",),
    "A4.1": ("G3",),
    "A4.2": ("G1", "W5", "X6"),
    "A4.3": ("A8",),
    "A4.4": ("P4",),
    "A4.5": ("G1", "X6"),
    "A5.1": ("A5", "D3"),
    "A5.2": ("P1", "D3"),
    "A5.3": ("A9", "A5", "A6", "D3", "P1"),
    "A5.4": ("A6",),
    "A5.5": ("P1", "A5", "A9", "D3"),
    "D1.1": ("D3", "X3", "K3"),
    "D1.2": ("P1", "X2", "X3", "K1", "K3", "D3"),
    "D1.3": ("D1", "A9", "G6", "D3", "K1", "K3", "P1", "X3"),
    "D1.4": ("P4", "P2"),
    "D1.5": ("K1", "D3", "K3", "P1", "A9", "G6"),
    "D4.1": ("D5",),
    "D4.2": ("P1",),
    "D4.3": ("P3", "P2", "P1"),
    "D4.4": ("P4",),
    "D4.5": ("D5", "P1"),
    "B1.1": ("W10",),
    "B1.2": ("G1", "W10"),
    "B1.3": ("G6",),
    "B1.4": ("G4", "W10"),
    "B1.5": ("K1", "G1", "W10"),
    "D2.1": ("A4", "A5", "K3"),
    "D2.2": ("X2", "K1", "K3", "A4", "A5"),
    "D2.3": ("A9", "A4", "A5", "A6", "K1", "K3"),
    "D2.4": ("A6", "A7"),
    "D2.5": ("K1", "K3", "A4", "A5"),
}
