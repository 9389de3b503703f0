"""Reproducers on labs: the leak while it is there, nothing once it is gone, no verdict where nothing can be told."""

from __future__ import annotations

import ast
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from composing import Composed

from netra_probe import Investigation, investigate, workloads
from netra_probe.checkers import Checker, authorisation, canary, lifecycle, tokens
from netra_probe.cli.main import app
from netra_probe.errors import ParameterError
from netra_probe.history.secret import Secret
from netra_probe.report.reproducers.running import CANNOT_TELL, LEAKS, carry_out, environment_of, minimise
from netra_probe.report.reproducers.tape import Tape
from netra_probe.report.reproducers.writing import authors_of, written
from netra_probe.results.runs import Run, read_run
from netra_probe.results.secret_scan import scan_path
from netra_probe.target.lab import as_target

Act = Callable[[Investigation], Awaitable[Any]]


def trial(thread: str) -> dict[str, Any]:
    return {"attempt": "foreign id", "object": {"kind": "thread", "id": thread}, "owner": "alice", "expect": "refused"}


async def one_asks(probe: Investigation) -> None:
    async with probe.sockets():
        await probe.users[0].ask("Where do I overspend?")


async def reads_by_id(probe: Investigation) -> None:
    alice, bob = probe.users
    thread = await alice.new_thread()
    await bob.rest.thread(thread, attempt=trial(thread))
    await alice.rest.thread(thread)


async def writes_by_id(probe: Investigation) -> None:
    alice, bob = probe.users
    thread = await alice.new_thread()
    await alice.rest.thread(thread)
    await bob.rest.rename_thread(thread, bob.canary("title", "rest"), attempt=trial(thread))
    await alice.rest.thread(thread)


async def lists_in_turn(probe: Investigation) -> None:
    alice, bob = probe.users
    await alice.new_thread()
    await alice.rest.threads()
    await bob.rest.threads()


async def leaves(probe: Investigation) -> None:
    await workloads.leave_and_join(probe, probe.users[0])


async def asks_alike(probe: Investigation) -> None:
    await workloads.identical_prompts(probe, rounds=1)


async def forges(probe: Investigation) -> None:
    await workloads.try_invalid_handshakes(probe, like=probe.users[0])


async def logs_out(probe: Investigation) -> None:
    await workloads.log_out(probe, probe.users[0])


#: Fault → what shows it, and which checkers see it; faults of one line share a lab.
TOGETHER: tuple[dict[str, tuple[Act, tuple[type[Checker], ...]]], ...] = (
    {"W1": (one_asks, (canary,))},
    {
        "D1": (reads_by_id, (authorisation, canary)),
        "D2": (writes_by_id, (authorisation,)),
        "G5": (asks_alike, (canary,)),
    },
    {
        "K1": (lists_in_turn, (canary,)),
        "A1": (forges, (tokens,)),
        "W11": (logs_out, (lifecycle,)),
    },
    {"W6": (leaves, (canary,))},
)


async def recorded(target: Any, act: Act, checkers: tuple[type[Checker], ...]) -> Run:
    """A run by hand of one act, red."""
    probe = await investigate("C4", users=2, target=target)
    try:
        await act(probe)
        probe.check("C4.1", *(checker() for checker in checkers))
        assert "netra-probe reproduce" in probe.ticket("C4.1").markdown
    finally:
        await probe.close()
    return read_run(probe.history.path.parent.parent)


@pytest.mark.nightly
async def test_each_shows_its_leak_on_the_faulty_lab_and_nothing_on_the_healthy_one(compose: Composed) -> None:
    scripts: dict[str, str] = {}
    for group in TOGETHER:
        lab = compose(tuple(group))
        for fault, (act, checkers) in group.items():
            run = await recorded(as_target(lab), act, checkers)
            made = list(written(run))
            assert made and all(text for _, text, _ in made), [one.reason for one, _, _ in made]
            for one, text, _ in made:
                assert (run.path / one.file).read_text() == text
                outcome = carry_out(text, environment_of(as_target(lab)))
                assert outcome.status == LEAKS, (fault, one.finding, outcome)
                scripts[f"{fault} {one.name}"] = text
            assert not [hit for hit in scan_path(run.path, {}) if hit.is_secret]
            assert_needs_nothing_of_ours(run, made[0][1])
    healthy = environment_of(as_target(compose()))
    assert {name: carry_out(text, healthy).words for name, text in scripts.items()} == dict.fromkeys(scripts, "fixed")
    nowhere = {**healthy, "BACKEND_URLS": Secret("http://127.0.0.1:9")}
    assert carry_out(scripts["D1 C4.1-1"], nowhere).status == CANNOT_TELL


def assert_needs_nothing_of_ours(run: Run, text: str) -> None:
    """Its own text, httpx and websockets: no module of ours, no recorded id, token or secret."""
    tree = ast.parse(text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {"httpx", "websockets"} <= imported
    assert "netra_probe" not in " ".join(
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    )
    (author,) = authors_of(run)
    code = ast.unparse(ast.Module(body=tree.body[1:], type_ignores=[]))
    for value in (*author.tape.learned, *author.tape.owners, *author.tape.user_ids, *author.tape.emails):
        assert not value or value not in code, value


async def test_the_command_says_still_leaks_fixed_or_could_not_tell(compose: Composed) -> None:
    run = await recorded(as_target(compose(("D1",))), reads_by_id, (authorisation,))

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, words, standalone_mode=False)

    started = invoke("reproduce", str(run.path), "C4.1", "--fault", "D1", "--minimise")
    assert started.return_value == LEAKS, started.output
    assert "still leaks with 2 of" in started.output
    assert (run.path / "reproduce" / "C4.1-1-minimal.py").is_file()
    told = invoke("ticket", str(run.path), "C4.1")
    assert told.return_value == 0 and "Reproducer: `reproduce/C4.1-1-minimal.py`" in told.output
    for words, said in (
        (["C4.9"], 'no case "C4.9"'),
        (["C4.2"], "C4.2 has no isolation finding"),
        (["C4.1-7"], 'no finding "C4.1-7"'),
        (["C4.1", "--fault", "D1", "--env", "staging"], "faults go into the lab only"),
    ):
        wrong = invoke("reproduce", str(run.path), *words)
        assert isinstance(wrong.exception, ParameterError) and said in str(wrong.exception), wrong.output


async def test_what_is_not_needed_is_left_out(compose: Composed) -> None:
    target = as_target(compose(("D1",)))

    async def reads_among_others(probe: Investigation) -> None:
        alice, bob = probe.users
        thread = await alice.new_thread()
        await alice.rest.thread(thread)
        await bob.rest.thread(thread, attempt=trial(thread))
        await alice.rest.thread(thread)

    run = await recorded(target, reads_among_others, (canary,))
    (author,) = authors_of(run)
    ((case, number, finding),) = author.findings()
    before, _ = author.write(case, number, finding)
    made = minimise(author, finding, case=case, variables=environment_of(target))
    assert made is not None and made.steps == 2 < before.steps
    assert {author.tape.operations[act].action for act in made.acts} == {"POST /api/threads", "GET /api/threads/{id}"}


def test_a_recording_of_somebody_else_puts_nothing_into_a_script(tmp_path: Path) -> None:
    hostile = '"}\n__import__("os").system("true") # \\ {world} \x00 \u202e \'\'\' """'
    tape = Tape([])
    from netra_probe.report.reproducers.source import Names, identifier

    names = Names(tape, {hostile[:9]: "secret_1"})
    for text in (hostile, f"x {hostile[:9]} y", json.dumps({hostile: [hostile]})):
        read = ast.parse(f"f({names.value(text)}, {names.value({text: [text]})})")
        calls = [node for node in ast.walk(read) if isinstance(node, ast.Call)]
        assert [ast.unparse(call.func) for call in calls] == ["f"]
    assert identifier(hostile).isidentifier() or identifier(hostile) == "world.nobody"
