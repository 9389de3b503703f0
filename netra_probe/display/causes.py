"""From red to what to do: the story of a finding, the cause behind many, where to look, and the next step."""

from __future__ import annotations

from collections.abc import Sequence

from netra_probe.catalogue.scenarios import SCENARIOS
from netra_probe.checkers.attribution.causes import Cause, Explained
from netra_probe.checkers.findings import CROSSED, deliveries, listing
from netra_probe.checkers.judging import ScenarioResult
from netra_probe.checkers.verdict import Finding
from netra_probe.display.tables import first_of
from netra_probe.target.lab import suspects_of, titles_of_faults

#: Names that a sentence lists; of more it gives the number.
MOST_NAMES = 4


def story(finding: Finding) -> str:
    """Who received whose data, how often and through what; the summary where that tells it as shortly.

    >>> story(finding)   # doctest: +SKIP
    "10 users received other users' data over websocket: 5457 times through 12 operations (agent_started, …)"
    """
    if max(len(finding.victims), len(finding.recipients)) <= MOST_NAMES:
        return finding.summary
    places = [place.operation for place in listing(finding)]
    secrets = f", {len(finding.secrets)} secrets" if finding.secrets else ""
    what = "data" if finding.kind in CROSSED else f"what is none of theirs ({finding.kind})"
    return (
        f"{len(finding.recipients)} users received {what} of {len(finding.victims)} users over {finding.surface}: "
        f"{deliveries(finding.count)}{secrets}, through {first_of(places, MOST_NAMES)}"
    )


def faults_of_group(group: str) -> tuple[str, ...]:
    """The ids of ``W1 or D3: it reaches everybody``."""
    return tuple(group.partition(":")[0].split(" or "))


def explained(finding: Finding) -> Explained:
    """A finding, for ``causes``."""
    shape = (finding.checker, finding.kind, finding.surface)
    return Explained(attribution=finding.attribution, shape=shape)


def causes_told(found: Sequence[Cause]) -> list[str]:
    """Causes as sentences: how much each explains, where to look, what speaks for it, and the next candidate."""
    total = sum(cause.explains for cause in found)
    told = []
    for number, cause in enumerate(found):
        share = f"{cause.explains} of {total} finding{'s' if total > 1 else ''}"
        if not cause.faults:
            told.append(f"{'None' if number == 0 else 'The rest: none'} of the known faults explains {share}.")
            continue
        suspects = ", ".join(dict.fromkeys(part for fault in cause.faults for part in suspects_of(fault)))
        told.append(
            f"{'Probable cause' if number == 0 else 'Another cause'}, explains {share}: "
            f"it looks like fault {titles_of_faults(' or '.join(cause.faults))}."
            + (f" Suspect: {suspects}." if suspects else "")
            + (f" Because {cause.because}." if cause.because else "")
            + (
                f" Next candidate: fault {titles_of_faults(' or '.join(cause.rival))}, explains {cause.rival_explains}."
                if cause.rival and number == 0
                else ""
            )
        )
    return told


def next_steps(result: ScenarioResult) -> list[str]:
    """What to do about a red scenario: the notebooks that tell its likeliest fault from the next one, the ticket.

    Computed from what the notebooks say about their cases: those that turn red by the first fault and not by its rival.
    """
    if not result.looks_like:
        return []
    first, *others = result.looks_like
    rivals = {fault for group in others[:1] for fault in group}
    telling = [
        id
        for id, scenario in SCENARIOS.items()
        if id != result.id
        and any(set(first) & set(case.faults) and not rivals & set(case.faults) for case in scenario.declared)
    ]
    run = ""
    if telling and rivals:
        tell = "tells" if len(telling) == 1 else "tell"
        from_what = titles_of_faults(" or ".join(sorted(rivals)))
        run = f"run {', '.join(telling[:3])}, which {tell} it from fault {from_what}. "
    return [
        f"Next: {run}Raise `rounds` or `users` and run this notebook again; `netra-probe ticket` writes the ticket."
    ]
