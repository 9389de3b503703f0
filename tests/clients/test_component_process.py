"""A function carried out on a component in a process of its own: its result, its log, its end."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from netra_probe.clients.component_process import Carried, Undecided, carry_on, carry_out

LAB = {"IsolatedEnvironment": "netra_probe.lab.composed:IsolatedEnvironment"}


async def test_it_sees_its_own_variables_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_PARENT", "secret")

    def act(IsolatedEnvironment: Any, name: str) -> dict[str, Any]:
        import logging

        logging.getLogger("act").warning("reading %s", name)
        print("printed")
        os.environ["LEFT"] = "behind"
        environment = IsolatedEnvironment()
        return {"given": environment.get(name), "parent": environment.get("OF_THE_PARENT")}

    seen = await carry_out(act, LAB, "REGION", variables={"REGION": "north"}, seconds=30)
    assert seen.value == {"given": "north", "parent": None}
    assert seen.says("warning act: reading region") and seen.says("printed") and "LEFT" not in os.environ


async def test_a_selected_fault_is_in_the_class_and_counted(tmp_path: Path) -> None:
    def act(IsolatedEnvironment: Any) -> str | None:
        environment = IsolatedEnvironment()
        environment.set("VALUE", "$(echo run)")
        return environment.get("VALUE")  # type: ignore[no-any-return]

    variables = {"LAB_FAULTS": "environment-shell-executed", "LAB_FAULT_COUNTS": str(tmp_path)}
    assert (await carry_out(act, LAB, seconds=30)).value == "$(echo run)"
    assert (await carry_out(act, LAB, variables=variables, seconds=30)).value == "run"
    (counts,) = tmp_path.glob("*.json")
    assert '"triggered": 1' in counts.read_text()


async def test_whatever_becomes_of_it_is_a_value() -> None:
    def raises(IsolatedEnvironment: Any) -> None:
        raise KeyError("NAME")

    def hangs(IsolatedEnvironment: Any) -> None:
        time.sleep(60)

    def ends(IsolatedEnvironment: Any) -> None:
        os._exit(9)

    def odd(IsolatedEnvironment: Any) -> object:
        return object()

    assert (await carry_out(raises, LAB, seconds=30))["any"] == "KeyError: 'NAME'"
    assert (await carry_out(hangs, LAB, seconds=1)).raised == "no return within 1 s"
    assert "status 9" in (await carry_out(ends, LAB, seconds=30)).raised
    assert "no plain data" in (await carry_out(odd, LAB, seconds=30)).raised
    absent = await carry_out(raises, {"Nothing": "no.such.module:Class"}, seconds=30)
    assert isinstance(absent["any"]["further"], Undecided) and "no.such.module" in absent.absent


def test_an_exception_stands_for_every_entry() -> None:
    assert Carried(raised="ValueError: no")["anything"] == "ValueError: no"
    assert Carried(value={"a": 1})["a"] == 1


def test_what_a_log_tells_is_a_value_to_expect() -> None:
    carried = Carried(value={}, log=("WARNING KEY differs", "INFO value (hunter2)"))
    assert carried.tells("warning.*key") is True
    assert carried.tells("warning.*key", without="(hunter2)") is False
    assert carried.tells("error") is False
    assert Carried(raised="ValueError: no").tells("warning") == "ValueError: no"
    assert isinstance(Carried(absent="no class").tells("warning"), Undecided)


async def test_a_method_that_a_class_lacks_is_no_broken_promise() -> None:
    def lacks(IsolatedEnvironment: Any) -> None:
        IsolatedEnvironment().teleport()

    def own_mistake(IsolatedEnvironment: Any) -> None:
        IsolatedEnvironment().get("NAME", "text").teleport()

    assert (await carry_out(lacks, LAB, seconds=30)).absent == "IsolatedEnvironment has no teleport"
    assert "'str' object has no attribute" in (await carry_out(own_mistake, LAB, seconds=30)).raised


async def test_arguments_that_a_class_does_not_take_are_no_broken_promise() -> None:
    def other_arguments(IsolatedEnvironment: Any) -> None:
        IsolatedEnvironment().get("NAME", default="text", colour="red")

    def own_mistake(IsolatedEnvironment: Any) -> None:
        len(IsolatedEnvironment().get("NAME", "text"), 1)

    assert "takes other arguments" in (await carry_out(other_arguments, LAB, seconds=30)).absent
    assert (await carry_out(own_mistake, LAB, seconds=30)).raised.startswith("TypeError")


async def test_a_generator_goes_on_step_by_step_with_the_log_of_each() -> None:
    def service(IsolatedEnvironment: Any, path: str) -> Any:
        import logging

        logging.warning("started")
        yield {"pid": os.getpid(), "file": Path(path).exists()}
        print("again")
        yield {"pid": os.getpid(), "file": Path(path).exists()}
        raise ValueError("the end")

    with tempfile.TemporaryDirectory() as place:
        async with carry_on(service, LAB, f"{place}/file", seconds=30) as step:
            first = await step()
            Path(place, "file").touch()
            second, third, after = await step(), await step(), await step()
    assert (first["file"], second["file"], first["pid"] == second["pid"]) == (False, True, True)
    assert first.says("started") and second.says("again") and not second.says("started")
    assert third.raised == "ValueError: the end" and after is third
    with pytest.raises(ProcessLookupError):
        os.kill(first["pid"], 0)


async def test_a_step_that_cannot_be_made_is_a_value() -> None:
    def short(IsolatedEnvironment: Any) -> Any:
        yield {}

    def hangs(IsolatedEnvironment: Any) -> Any:
        yield {}
        time.sleep(60)

    def ends(IsolatedEnvironment: Any) -> Any:
        yield {}
        os._exit(9)

    for act, seconds, told in ((short, 30, "no further step"), (hangs, 2, "no return"), (ends, 30, "status 9")):
        async with carry_on(act, LAB, seconds=seconds) as step:
            assert await step() and told in (await step()).raised
    async with carry_on(short, {"Nothing": "no.such.module:Class"}, seconds=30) as step:
        assert "no.such.module" in (await step()).absent
