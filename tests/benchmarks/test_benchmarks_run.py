"""The benchmarks themselves work. What they measure is never tested: a timed test is a coin toss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import _peers
from tests.benchmarks.__main__ import main
from tests.benchmarks._all import SCENARIOS
from tests.benchmarks._bench import Figure, Scenario, Size, evaluate, gross_losses, table, verdict
from tests.postgres import Server


def _scenario(*figures: Figure) -> Scenario:
    nothing = Size(0)
    return Scenario("it", "nothing", {}, figures, nothing, nothing, nothing)


@pytest.mark.parametrize(
    "name",
    [
        "suspend",
        "offload",
        "host-cpu",
        "handoff-dask",
        "sqlite",
        "sqlite-one",
        "hold-sqlite",
        "idle-sqlite",
        "firing-sqlite",
        "soak",
        "starting-sqlite",
        "texts",
    ],
)
def test_a_smoke_run_measures_every_system_and_prints_every_figure(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_peers(monkeypatch)
    if SCENARIOS[name].missing:
        pytest.skip(f"{name}: {SCENARIOS[name].missing}")
    assert main(["--smoke", name]) == 0
    _check_printed(name, capsys.readouterr().out)


@pytest.mark.parametrize(
    "name",
    [
        "postgres",
        "hold-postgres",
        "idle-postgres",
        "firing-postgres",
        "cluster",
        "periodic",
        "starting-postgres",
    ],
)
def test_a_smoke_run_on_postgresql_says_what_the_server_promises(
    name: str, pg_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_peers(monkeypatch)
    # The session's own server, which need not be durable to show that the benchmark works.
    monkeypatch.setattr(pg_server, "close", lambda: None)
    monkeypatch.setattr("tests.postgres.open_server", lambda **settings: pg_server)
    assert main(["--smoke", name]) == 0
    printed = capsys.readouterr().out
    assert "fsync off, synchronous_commit on" in printed
    _check_printed(name, printed)


def test_a_scenario_whose_engine_is_not_here_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Size(0)
    scenario = Scenario("it", "nothing", {}, (), nothing, nothing, nothing, missing="pip install it")
    monkeypatch.setitem(SCENARIOS, "it", scenario)
    assert main(["it"]) == 0
    assert "it is left out: pip install it" in capsys.readouterr().out


def _without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether they are installed is the machine's affair; the test is the same everywhere.
    monkeypatch.setattr(_peers, "_FOLDER", Path("nowhere"))


def _check_printed(name: str, printed: str) -> None:
    scenario = SCENARIOS[name]
    absent = {system for system in scenario.systems if _peers.interpreter(system) is None}
    for system in absent:
        assert f"{system} is not installed: {_peers.HOW}" in printed
    for figure in scenario.figures:
        assert (figure.what in printed) is (figure.over is None or figure.over[0] not in absent)


def test_a_scenario_that_does_not_exist_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "no such scenario: nonsense" in capsys.readouterr().err


def test_a_figure_refers_only_to_systems_of_its_scenario() -> None:
    for scenario in SCENARIOS.values():
        for figure in scenario.figures:
            assert figure.system in scenario.systems
            assert figure.over is None or figure.over[0] in scenario.systems


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    scenario = _scenario(Figure("", "it", "cost", over=("other", "cost")))
    rounds = [{"asyncsched": {"cost": ours}, "other": {"cost": theirs}}
              for ours, theirs in ((1.0, 2.0), (30.0, 10.0), (4.0, 4.0))]  # fmt: skip
    (line,) = evaluate(scenario, rounds)
    assert line.value == 1.0
    assert line.spread == (0.5, 3.0)


@pytest.mark.parametrize(
    ("value", "at_least", "reached"),
    [(0.2, False, "beyond"), (0.4, False, "goal"), (0.6, False, "missed"), (0.6, True, "beyond")],
)
def test_a_verdict_says_which_bound_was_reached(value: float, at_least: bool, reached: str) -> None:
    bounds = (0.5, 0.55) if at_least else (0.5, 0.3)
    scenario = _scenario(Figure("", "it", "cost", *bounds, at_least=at_least))
    (line,) = evaluate(scenario, [{"asyncsched": {"cost": value}}])
    assert verdict(line) == reached
    assert reached in table([line])


def test_only_a_figure_beyond_its_goal_by_the_factor_is_a_gross_loss() -> None:
    slow = Figure("1", "slow", "slow", 0.5)
    few = Figure("2", "few", "few", 6.0, at_least=True)
    free = Figure("", "free", "slow")
    lines = evaluate(_scenario(slow, few, free), [{"asyncsched": {"slow": 1.4, "few": 2.1}}])
    assert gross_losses(lines, 3) == []
    assert [line.figure for line in gross_losses(lines, 2.5)] == [slow, few]


def test_the_short_form_ends_with_an_error_only_at_a_gross_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Size(0)
    scenario = Scenario("it", "nothing", {}, (Figure("9z", "it", "cost", 2.0),), nothing, nothing, nothing)
    monkeypatch.setitem(SCENARIOS, "it", scenario)
    monkeypatch.setattr("tests.benchmarks.__main__.run", lambda *_: [{"asyncsched": {"cost": 7.0}}])
    assert main(["--smoke", "it", "--loss", "4"]) == 0
    assert main(["--smoke", "it", "--loss", "3"]) == 1
    assert "9z it: worse than its goal by more than 3 ×" in capsys.readouterr().out
