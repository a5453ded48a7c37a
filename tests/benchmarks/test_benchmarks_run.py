"""The benchmarks themselves work. What they measure is never tested: a timed test is a coin toss."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import preloaded
from tests.benchmarks import _page, _peers, growth
from tests.benchmarks.__main__ import main
from tests.benchmarks._all import SCENARIOS
from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._report import cells, evaluate, gross_losses, merged, promises, report, verdict
from tests.benchmarks._run import Result, run
from tests.benchmarks._unfinished import Unfinished
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
        "soak",
        "starting-sqlite",
        "starting-memory",
        "starting-declared",
        "texts",
    ],
)
def test_a_smoke_run_measures_every_system_and_prints_every_figure(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_peers(monkeypatch)
    if not any(map(_peers.interpreter, SCENARIOS[name].systems)):
        pytest.skip(f"{name}: no engine is installed here")
    assert main(["--smoke", "--installed", name]) == 0
    _check_printed(name, capsys.readouterr().out)


@pytest.mark.parametrize(
    "name",
    [
        "postgres",
        "hold-postgres",
        "idle",
        "firing",
        "cluster",
        "ticks",
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
    assert main(["--smoke", "--installed", name]) == 0
    printed = capsys.readouterr().out
    assert "fsync off, synchronous_commit on" in printed
    _check_printed(name, printed)


def test_a_scenario_whose_engine_is_not_here_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Size(0)
    scenario = Scenario("it", "nothing", {}, (), nothing, nothing, nothing, missing="pip install it")
    monkeypatch.setitem(SCENARIOS, "it", scenario)
    assert main(["--installed", "it"]) == 0
    assert "it is left out: pip install it" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def unfinished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what a test measures apart from what people measure."""
    monkeypatch.setattr("tests.benchmarks.__main__.UNFINISHED", tmp_path / "unfinished.json")


def _without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether they are installed is the machine's affair; the test is the same everywhere.
    monkeypatch.setattr(_peers, "FOLDER", Path("nowhere"))
    monkeypatch.setattr("tests.benchmarks._run.subprocess", preloaded)


def _check_printed(name: str, printed: str) -> None:
    scenario = SCENARIOS[name]
    absent = {system for system in scenario.systems if _peers.interpreter(system) is None}
    for system in absent:
        assert f"{system} is not installed: {_peers.HOW}" in printed
    for figure in scenario.figures:
        assert (figure.what in printed) is (figure.over is None or figure.over[0] not in absent)
    for measure in scenario.measures:
        assert f"`{name}` {measure.what}" in printed


def test_a_scenario_that_does_not_exist_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "no such scenario: nonsense" in capsys.readouterr().err


def test_a_figure_refers_only_to_systems_of_its_scenario() -> None:
    for scenario in SCENARIOS.values():
        for figure in scenario.figures:
            assert figure.system in scenario.systems
            assert figure.over is None or figure.over[0] in scenario.systems
        for measure in scenario.measures:
            assert {measure.ours, measure.floor or scenario.floor} - {""} <= set(scenario.systems), (
                scenario.name
            )


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
    assert reached in promises({"it": {"group": "W1", "promises": [cells(line)]}})


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
    _measuring(monkeypatch, _scenario(Figure("9z", "it", "cost", 2.0)), {"asyncsched": {"cost": 7.0}})
    assert main(["--smoke", "--installed", "it", "--loss", "4"]) == 0
    assert main(["--smoke", "--installed", "it", "--loss", "3"]) == 1
    assert "9z it: worse than its goal by more than 3 ×" in capsys.readouterr().out


def _measuring(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, *rounds: dict[str, Metrics]) -> None:
    """Let the one scenario ``it`` have these rounds."""
    monkeypatch.setitem(SCENARIOS, "it", scenario)
    result = Result(scenario, "smoke", "2026-11-30 12:00 UTC", rounds=list(rounds))
    monkeypatch.setattr("tests.benchmarks.__main__.run", lambda *_: ([result], {"Redis": "7"}))


def test_the_table_has_the_medians_of_all_systems_and_a_dash_for_a_peer_that_is_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _without_peers(monkeypatch)
    systems = dict.fromkeys(("asyncsched", "heap", "aps3", "saq"), lambda size: {})
    scenario = replace(
        _scenario(), systems=systems, floor="heap", group="W3", measures=(Measure("cost", "cost", "µs"),)
    )
    rounds = [
        {"asyncsched": {"cost": ours}, "heap": {"cost": 0.5}, "aps3": {"cost": 2000.0}}
        for ours in (1.0, 9.0, 2.0)
    ]
    _measuring(monkeypatch, scenario, *rounds)
    assert main(["--smoke", "--installed", "it", "--json", str(tmp_path / "found.json")]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "`it`" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "W3",
        "`it` cost, µs",
        "**2**",
        "heap 0.5",
        "aps3 2,000",
    ]
    kept = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert kept["scenarios"]["it"]["measured"] == rounds
    assert kept["versions"]["aps3"] == f"apscheduler {version('apscheduler')}"


def test_a_peer_that_is_not_installed_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_peers(monkeypatch)
    scenario = replace(SCENARIOS["texts"], systems=SCENARIOS["texts"].systems | {"saq": lambda size: {}})
    monkeypatch.setitem(SCENARIOS, "texts", scenario)
    assert main(["--smoke", "--installed", "texts"]) == 0
    printed = capsys.readouterr().out
    assert f"**Not measured:** saq is not installed: {_peers.HOW} (texts)." in printed
    assert "saq –" in printed


def test_a_system_that_fails_is_named_and_the_command_fails_only_for_our_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = replace(SCENARIOS["texts"], timeout=0.001)
    monkeypatch.setitem(SCENARIOS, "texts", scenario)
    assert main(["--smoke", "--installed", "texts"]) == 1
    assert "texts: asyncsched failed: gave no answer in 0.001 s" in capsys.readouterr().out


def test_no_round_begins_that_would_end_after_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = _counted(monkeypatch, {"asyncsched": 0, "aps3": 0})
    run([replace(_scenario(), systems=ran, rounds=5)], "full", minutes=0)  # type: ignore[arg-type]
    assert ran == {"asyncsched": 1, "aps3": 1}


def test_a_system_that_no_goal_is_set_for_is_run_in_the_first_round_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = _counted(monkeypatch, {"asyncsched": 0, "heap": 0, "aps3": 0})
    beyond = Figure("1b", "it", "cost", beyond=1.0, over=("heap", "cost"))
    run([replace(_scenario(beyond), systems=ran, rounds=5)], "full")  # type: ignore[arg-type]
    assert ran == {"asyncsched": 5, "heap": 5, "aps3": 1}


def test_a_system_that_failed_is_tried_once_more_and_what_it_measured_before_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = _counted(monkeypatch, {"asyncsched": 0, "saq": 0, "aps3": 0}, fails={"saq": {0}, "aps3": {1, 2}})
    monkeypatch.setattr(_peers, "interpreter", lambda system: "python")
    goals = tuple(Figure("1b", "it", "cost", 1.0, over=(name, "cost")) for name in ("saq", "aps3"))
    scenario = replace(_scenario(*goals), systems=ran, rounds=5)
    results, _ = run([scenario], "full")  # type: ignore[arg-type]
    assert ran == {"asyncsched": 5, "saq": 5, "aps3": 3}
    assert [len(one) for one in results[0].rounds] == [2, 2, 2, 2, 2]
    assert report(results, {})["scenarios"]["it"]["missing"] == {}
    assert "it: saq failed: OSError: gone" in capsys.readouterr().err


def test_a_run_that_was_ended_is_taken_up_again_and_measures_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = _counted(monkeypatch, {"asyncsched": 0}, ends=3)
    scenario = replace(_scenario(), systems=ran, rounds=5)
    file = tmp_path / "unfinished.json"
    (first,), _ = run([scenario], "full", unfinished=Unfinished(file))  # type: ignore[arg-type]
    assert len(first.rounds) == 3
    (again,), _ = run([scenario], "full", unfinished=Unfinished(file, resume=True))  # type: ignore[arg-type]
    assert len(again.rounds) == 5
    assert (again.at, again.load) == (first.at, first.load)
    assert ran["asyncsched"] == 6  # the fourth was ended, and begun again


def _counted(
    monkeypatch: pytest.MonkeyPatch,
    ran: dict[str, int],
    fails: dict[str, set[int]] | None = None,
    ends: int = -1,
) -> dict[str, int]:
    def in_child(result: Result, system: str, environment: object) -> Metrics:
        ran[system] += 1
        if ran[system] - 1 in (fails or {}).get(system, ()):
            raise OSError("gone")
        if sum(ran.values()) - 1 == ends:
            raise KeyboardInterrupt
        return {"cost": 1.0}

    monkeypatch.setattr("tests.benchmarks._run._in_child", in_child)
    return ran


def test_an_environment_of_other_versions_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_peers, "FOLDER", tmp_path)
    made: list[list[str]] = []

    def install(peer: _peers.Peer, folder: Path) -> None:
        made.append(peer.requirements)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "installed.txt").write_text("\n".join(peer.requirements), "utf-8")

    monkeypatch.setattr(_peers, "_install", install)
    _peers.install(["saq", "asyncsched", "pgqueuer-100"])
    _peers.install(["saq"])
    assert made == [_peers.PEERS["pgqueuer"].requirements, _peers.PEERS["saq"].requirements]
    monkeypatch.setitem(_peers.PEERS, "saq", _peers.PEERS["saq"]._replace(beside=("another",)))
    assert _peers.interpreter("saq") is None
    _peers.install(["saq"])
    assert _peers.interpreter("saq") is not None


def test_the_page_of_the_guide_is_made_of_what_was_kept() -> None:
    """The figures are measured by hand, on a machine that the page names; the form is the script's."""
    written = _page.PAGE.read_text("utf-8")
    assert written == _page.page(_page.kept(), growth.kept()), "python -m tests.benchmarks._page"
    for name, drawn in growth.pictures(growth.kept()).items():
        assert (_page.GUIDE / "pictures" / name).read_text("utf-8") == drawn, (
            "python -m tests.benchmarks._page"
        )
        assert f"(pictures/{name})" in written


def test_a_run_of_some_scenarios_leaves_the_others_on_the_page() -> None:
    old = {"machine": "this", "versions": {"saq": "saq 1"}, "servers": {}, "scenarios": {"one": 1, "two": 2}}
    new = {
        "machine": "this",
        "versions": {"saq": "saq 2"},
        "servers": {"Redis": "7"},
        "scenarios": {"two": 3},
    }
    both = {
        "machine": "this",
        "versions": {"saq": "saq 2"},
        "servers": {"Redis": "7"},
        "scenarios": {"one": 1, "two": 3},
    }
    assert merged(old, new) == both
    assert merged({**old, "machine": "another"}, new) == new
