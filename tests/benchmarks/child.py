"""One system of one scenario in this process: ``python -m tests.benchmarks.child <scenario> <system> <mode>``."""

from __future__ import annotations

import json
import logging
import sys

from tests.benchmarks._all import SCENARIOS

if __name__ == "__main__":
    name, system, mode = sys.argv[1:]
    logging.disable(logging.WARNING)  # a peer that is late says so in the log, which is not what is measured
    scenario = SCENARIOS[name]
    print(json.dumps(scenario.systems[system](scenario.sizes[mode])))
