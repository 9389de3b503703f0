"""Evidence reads as phrases with numbers."""

from IPython.lib.pretty import pretty

from netra_probe.checkers.judging import PHRASES, counted
from netra_probe.checkers.verdict import Confidence
from netra_probe.workloads.outcome import Outcome


def test_a_count_is_a_phrase_and_without_its_number_where_that_varies() -> None:
    assert counted("users looking", 3) == "3 users watched"
    assert counted("runs ended", 1) == "1 run completed"
    assert counted("own canaries seen", 5) == "owners saw their own secrets 5× (control)"
    assert counted("own canaries seen") == "owners saw their own secrets (control)"
    assert counted("deliveries") == "frames and responses"
    assert counted("anomalies that the level allows", 1) == "1 anomaly that the isolation level allows"
    assert counted("refused log-ins compared", 2) == "2 refused log-ins compared"
    for name in PHRASES:
        assert "{" not in counted(name, 2) + counted(name), name


def test_a_bound_on_the_leak_rate_is_told_where_it_says_something() -> None:
    assert Confidence.of(runs=68, deliveries=900, leaks=0).sentence == (
        "68 agent runs, 900 events delivered. "
        "Had more than 4.3 % of runs leaked, we would very likely have seen it (95 % confidence)"
    )
    assert Confidence.of(runs=10, deliveries=90, leaks=0).sentence == "10 agent runs, 90 events delivered"
    assert Confidence.of(runs=68, deliveries=900, leaks=1).sentence.endswith(
        "; no bound, because there were findings or no runs"
    )


def test_an_act_is_a_phrase_with_its_users_and_numbers_first_in_a_notebook() -> None:
    counts = {"endpoints": 11, "presented": 674, "rejected": 674}
    forged = Outcome(title="Forged tokens", users=("bob", "alice"), counts=counts)
    told = "Forged tokens (bob, alice): 11 endpoints, 674 presented, 674 rejected"
    assert str(forged) == pretty(forged) == told
    assert str(Outcome(title="Late close", users=("bob",), counts={"answered": 6})) == "Late close (bob): 6 answered"
    missing = Outcome(title="Tool calls", users=("bob",), missing="a route that starts a run")
    assert str(missing) == "Tool calls (bob): not run; missing: a route that starts a run"
