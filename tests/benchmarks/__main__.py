"""Run the benchmarks and print their table: ``python -m tests.benchmarks [--quick] [scenario ...]``.

The short form for CI, which finds gross losses only: ``--quick --loss 3 noop suspend``.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks import _peers
from tests.benchmarks._all import SCENARIOS
from tests.benchmarks._bench import evaluate, gross_losses, run, runtime, table

_LONG = [name for name, scenario in SCENARIOS.items() if scenario.long]


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for and print what came out."""
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
        "--loss",
        type=float,
        metavar="FACTOR",
        help="end with 1 if a figure misses its goal by more than this",
    )
    parser.add_argument(
        "--install-peers",
        action="store_true",
        help="first install the peers that need an environment of their own",
    )
    options = parser.parse_args(arguments)
    if options.install_peers:
        _peers.install()
    mode = options.mode or "full"
    unknown = set(options.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")

    lines = []
    print(runtime())
    for name in options.scenario or [name for name in SCENARIOS if name not in _LONG]:
        scenario = SCENARIOS[name]
        if scenario.missing:
            print(f"\n{name} is left out: {scenario.missing}")
            continue
        rounds = options.rounds or (scenario.rounds if mode == "full" else 1)
        print(f"\n{name}: {scenario.workload} ({rounds} rounds)", flush=True)
        found = evaluate(scenario, run(scenario, mode, rounds))
        lines += found
        print(table(found), flush=True)
    print("\nratio: median over the rounds of ours / theirs in the same round; spread: least to greatest\n")
    print(table(lines))
    missed = [] if options.loss is None else gross_losses(lines, options.loss)
    for line in missed:
        print(f"{line.figure.row} {line.figure.what}: worse than its goal by more than {options.loss:g} ×")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
