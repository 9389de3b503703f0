"""Evidence reads as phrases with numbers."""

from netra_probe.judging import PHRASES, counted
from netra_probe.verdict import Confidence


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
