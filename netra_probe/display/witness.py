"""The witness of a finding as a conversation: who said what to which backend, and where the leak is; with a diagram."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence

from netra_probe.checkers.verdict import Finding
from netra_probe.display.controls import visible
from netra_probe.history import actions
from netra_probe.history.lines import excerpt, line
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import decoded

#: Vermilion and blue of Okabe and Ito, told apart by everybody; the leak also has a thicker line and a word.
LEAK, PLAIN = "#d55e00", "#0072b2"
#: Characters of a frame that is shown in full.
MOST_OF_A_FRAME = 4_000
_NOUNS = {actions.MINT: "the secret is made", actions.OWN: "the owner of the object", actions.PRINCIPAL: "the account"}


def leak_of(finding: Finding, steps: Sequence[Operation]) -> int:
    """The position of the step that shows the leak: the last one that came to a recipient, else the last."""
    came = [n for n, step in enumerate(steps) if step.user in finding.recipients and step.type != "invoke"]
    return came[-1] if came else len(steps) - 1


def why(step: Operation, finding: Finding) -> str:
    """Why a step of the witness is there, in a few words, unless it is the leak."""
    if step.action in _NOUNS:
        return _NOUNS[step.action]
    if step.user in finding.victims:
        return "the owner (control)" if step.type == "ok" else "the owner's own"
    return "on the way"


class Conversation:
    """The steps of one witness, in order."""

    def __init__(self, finding: Finding, operations: Mapping[int, Operation]) -> None:
        self._finding = finding
        self._steps = [operations[index] for index in finding.witness if index in operations]
        self._leak = leak_of(finding, self._steps)

    def lines(self) -> list[str]:
        """A line a step; ``!`` marks the leak."""
        return [
            f"{'!' if position == self._leak else ' '} {line(step, self._finding.secrets)}"
            for position, step in enumerate(self._steps)
        ] or [f"  #{index}" for index in self._finding.witness]

    def html(self) -> str:
        """The diagram, then a row a step with its frame in full behind it."""
        rows = "".join(self._row(position, step) for position, step in enumerate(self._steps))
        head = "".join(
            f'<th style="text-align:left;padding:2px 8px">{name}</th>'
            for name in ("#", "s", "who", "", "backend", "what", "why it is here")
        )
        return f'{self.diagram()}<table style="border-collapse:collapse;font-size:12px"><tr>{head}</tr>{rows}</table>'

    def _row(self, position: int, step: Operation) -> str:
        last = position == self._leak
        cell = '<td style="padding:2px 8px;vertical-align:top;text-align:left">'
        told = line(step, self._finding.secrets).partition(" ")[2]
        who = step.connection or step.user or "probe"
        what = _marked(told.removeprefix(who).strip(), self._finding.secrets)
        cells = [
            str(step.index),
            f"{step.time / 1e9:.3f}",
            html.escape(who),
            "→" if step.type == "invoke" or step.action == actions.SEND else "←",
            html.escape(step.backend or ""),
            f"{what}{_in_full(step, self._finding.secrets)}",
            "the leak" if last else html.escape(why(step, self._finding)),
        ]
        style = f' style="background:#fdeee6;border-left:4px solid {LEAK}"' if last else ""
        return f"<tr{style}>" + "".join(f"{cell}{text}</td>" for text in cells) + "</tr>"

    def diagram(self) -> str:
        """A sequence diagram as an image, which an untrusted notebook and GitHub show, too; "" for one life line."""
        people = list(dict.fromkeys(step.user or "probe" for step in self._steps))
        places = list(dict.fromkeys(_place(step) for step in self._steps))
        lanes = [*people, *(place for place in places if place not in people)]
        if len(lanes) < 2:
            return ""
        width, top, gap = 150, 44, 34
        x = {lane: 80 + width * number for number, lane in enumerate(lanes)}
        height = top + gap * len(self._steps) + 16
        parts = [
            f'<line x1="{x[lane]}" y1="{top - 12}" x2="{x[lane]}" y2="{height - 6}" stroke="#999"/>'
            f'<rect x="{x[lane] - 64}" y="8" width="128" height="24" rx="4" fill="#fff" stroke="#555"/>'
            f'<text x="{x[lane]}" y="24" text-anchor="middle">{html.escape(lane[:18])}</text>'
            for lane in lanes
        ]
        for position, step in enumerate(self._steps):
            last = position == self._leak
            y = top + gap * position + 20
            sends = step.type == "invoke" or step.action == actions.SEND
            ends = (step.user or "probe", _place(step)) if sends else (_place(step), step.user or "probe")
            parts.append(_arrow(x[ends[0]], x[ends[1]], y, _named(step), LEAK if last else PLAIN, 3 if last else 1.5))
        picture = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{80 + width * len(lanes)}" height="{height}" '
            'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
            f"{''.join(parts)}</svg>"
        )
        alt = html.escape("Sequence: " + "; ".join(line(step)[:60] for step in self._steps))
        source = base64.b64encode(visible(picture).encode()).decode()
        return f'<img alt="{alt}" src="data:image/svg+xml;base64,{source}">'


def _place(step: Operation) -> str:
    return step.backend or step.surface or "target"


def _named(step: Operation) -> str:
    told = line(step).partition(" ")[2].removeprefix(step.connection or step.user or "-").strip()
    return " ".join(told.split()[:3])[:28].lstrip("→← ")


def _arrow(start: int, end: int, y: int, text: str, colour: str, width: float) -> str:
    label = html.escape(text)
    if start == end:
        return f'<circle cx="{start}" cy="{y}" r="4" fill="{colour}"/><text x="{start + 8}" y="{y + 4}">{label}</text>'
    tip = -7 if end > start else 7
    return (
        f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" stroke="{colour}" stroke-width="{width}"/>'
        f'<polygon points="{end},{y} {end + tip},{y - 4} {end + tip},{y + 4}" fill="{colour}"/>'
        f'<text x="{(start + end) // 2}" y="{y - 5}" text-anchor="middle">{label}</text>'
    )


def _marked(text: str, secrets: Sequence[str]) -> str:
    shown = html.escape(text)
    for secret in secrets:
        shown = shown.replace(html.escape(secret), f"<b><mark>{html.escape(secret)}</mark></b>")
    return f"<code>{shown}</code>"


def _in_full(step: Operation, secrets: Sequence[str]) -> str:
    """The whole frame, pretty-printed, behind a fold."""
    if len(step.payload) < 60:
        return ""
    value = decoded(step.payload, None)
    text = step.payload if value is None else json.dumps(value, indent=1, ensure_ascii=False)
    body = _marked(excerpt(text, secrets, width=MOST_OF_A_FRAME), secrets)
    return f'<details><summary>in full</summary><pre style="white-space:pre-wrap;font-size:11px">{body}</pre></details>'
