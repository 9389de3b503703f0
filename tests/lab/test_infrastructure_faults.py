"""The interface of faults: selected by id and rate, written in files of one's own, counted, and wrong ones named."""

from __future__ import annotations

from pathlib import Path

import pytest

from netra_probe.lab.shared.faults import (
    Fault,
    FaultProblem,
    Parts,
    Selection,
    check_selection,
    install_faults,
    load_fault_modules,
    parse_faults,
    register,
)


def test_selections_are_read() -> None:
    assert parse_faults(" W1, X1:0.5 ,") == [Selection(id="W1"), Selection(id="X1", rate=0.5)]
    assert parse_faults("") == []


@pytest.mark.parametrize("text", ["W1:0", "W1:1.5", "W1:often", ":0.5", "W1:nan", "W1,W1"])
def test_wrong_selections_are_named(text: str) -> None:
    with pytest.raises(FaultProblem, match=r"W1|ID"):
        parse_faults(text)


def test_only_parts_that_exist_can_be_replaced() -> None:
    parts = Parts({"TokenVerifier": object, "TokenIssuer": object})
    with pytest.raises(FaultProblem, match="did you mean 'TokenVerifier'"):
        parts["TokenVerifer"] = object
    with pytest.raises(FaultProblem, match="TokenIssuer, TokenVerifier"):
        parts["Unlike"]
    with pytest.raises(FaultProblem, match="not removed"):
        del parts["TokenIssuer"]


def test_a_rate_is_kept_and_reproducible() -> None:
    class Sometimes(Fault):
        id = "T1"

    def draws(seed: str) -> list[bool]:
        fault = Sometimes(rate=0.3, seed=seed)
        return [fault.fires() for _ in range(2000)]

    assert draws("a") == draws("a") != draws("b")
    assert 0.25 < sum(draws("a")) / 2000 < 0.35
    assert all(Sometimes().fires() for _ in range(100))


def test_two_faults_cannot_share_an_id() -> None:
    class One(Fault):
        id = "T2"

    class Two(Fault):
        id = "T2"

    register(One)
    register(One)
    with pytest.raises(FaultProblem, match=r"One and .*Two"):
        register(Two)


def test_only_the_faults_of_a_service_are_installed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from netra_probe.lab.shared.isolated_environment import IsolatedEnvironment

    @register
    class Elsewhere(Fault):
        id, service = "T3", "backend"

        def install(self, parts: Parts) -> None:
            raise AssertionError("installed in the wrong service")

    @register
    class Here(Fault):
        id, service = "T4", "auth_service"

        def install(self, parts: Parts) -> None:
            parts["Answer"] = 43

    monkeypatch.setattr(IsolatedEnvironment, "_instance", None)
    monkeypatch.setenv("LAB_FAULTS", "T3,T4:0.5")
    parts = Parts({"Answer": 42})
    (fault,) = install_faults(parts, "auth_service")
    assert (fault.id, fault.rate, parts["Answer"]) == ("T4", 0.5, 43)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("def (", "cannot be imported: SyntaxError"), ("import no_such_module", "ModuleNotFoundError")],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(content)
    with pytest.raises(FaultProblem, match=complaint) as found:
        load_fault_modules([str(file)])
    assert "broken.py" in str(found.value)


def test_a_missing_file_and_an_unknown_id_are_named(tmp_path: Path) -> None:
    with pytest.raises(FaultProblem, match="does not exist"):
        load_fault_modules([str(tmp_path / "nowhere.py")])
    with pytest.raises(FaultProblem, match="there is no fault 'nonsense'"):
        check_selection("nonsense")
