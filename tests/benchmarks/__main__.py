"""Run the benchmarks and print their tables: ``python -m tests.benchmarks [--quick] [scenario ...]``.

Without names all of them are run, W1 to W8, in some twenty minutes on two cores. A system that fails or hangs is named
and passed over. What was measured is kept after every workload: a run that was ended goes on with ``--resume``. The
short form for CI, which finds gross losses only: ``--quick --installed --loss 5 noop suspend``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks import _page, _peers
from tests.benchmarks._all import SCENARIOS
from tests.benchmarks._report import evaluate, gross_losses, heading, merged, promises, report, table
from tests.benchmarks._run import Result, run
from tests.benchmarks._unfinished import Unfinished

UNFINISHED = _peers.FOLDER / "unfinished.json"
_LONG = [name for name, scenario in SCENARIOS.items() if scenario.long]


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for and print what came out."""
    options = _parsed(arguments)
    scenarios = [SCENARIOS[name] for name in options.scenario]
    if not options.installed:
        _peers.install(system for scenario in scenarios for system in scenario.systems)
    mode = options.mode or "full"
    unfinished = Unfinished(UNFINISHED, options.resume)
    minutes = options.minutes if mode == "full" else None
    results, servers = run(scenarios, mode, options.rounds, minutes, unfinished)
    if not results:
        return 0
    found = report(results, servers)
    print(f"\n{heading(found)}\n\n{table(found['scenarios'])}\n")
    print("ratio: median over the rounds of ours / theirs in the same round; spread: least to greatest\n")
    print(promises(found["scenarios"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.guide:
        _page.keep(merged(_page.kept(), found))
    return _judge(results, options.loss)


def _judge(results: list[Result], factor: float | None) -> int:
    """Return 1 if this library or a floor failed in a workload, or if a goal was missed by more than a factor."""
    failed = [
        f"{one.scenario.name}: {system} {one.missing[system]}"
        for one in results
        for system in one.failures
        if _peers.peer_of(system) is None
    ]
    lines = [line for one in results for line in evaluate(one.scenario, one.rounds)]
    missed = [] if factor is None else gross_losses(lines, factor)
    for line in missed:
        print(f"{line.figure.row} {line.figure.what}: worse than its goal by more than {factor:g} ×")
    for said in failed:
        print(said)
    return 1 if missed or failed else 0


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", help=f"any of {', '.join(SCENARIOS)}; all but {', '.join(_LONG)} by default"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="mode", action="store_const", const="quick", help="smaller, one round")
    size.add_argument(
        "--smoke", dest="mode", action="store_const", const="smoke", help="only to see that it works"
    )
    parser.add_argument("--rounds", type=int, help="how often each system is run")
    parser.add_argument(
        "--minutes",
        type=float,
        default=21,
        help="begin no round that would end after this (21); each workload gets one",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was ended; what it has measured stays"
    )
    parser.add_argument(
        "--installed", action="store_true", help="install nothing: measure the peers that are there"
    )
    parser.add_argument(
        "--loss", type=float, metavar="FACTOR",
        help="end with 1 if a figure misses its goal by more than this",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured into a file")
    parser.add_argument("--guide", action="store_true", help="write what was measured into the guide's page")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.scenario) - set(SCENARIOS)):
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    options.scenario = options.scenario or [name for name in SCENARIOS if name not in _LONG]
    return options


if __name__ == "__main__":
    sys.exit(main())
