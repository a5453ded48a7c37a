"""``python -m tests.conformance``: ask, measure, and write the guide's page and picture."""

from __future__ import annotations

import argparse
import sys

from tests.conformance.asking import ask_all, run_all
from tests.conformance.report import page, picture
from tests.conformance.virtual_day import DAY, day_of
from tests.conformance.ways import WAYS
from tests.docs.pages import GUIDE


def main() -> None:
    """Ask, measure, and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60, help="of real time for each way, side by side (60)"
    )
    parser.add_argument("--day", type=float, default=DAY, help="seconds of virtual time (86,400)")
    parser.add_argument(
        "--apscheduler4", default=sys.executable, metavar="PYTHON",
        help="the Python of an environment with apscheduler==4.0.0a6, which excludes APScheduler 3",
    )  # fmt: skip
    options = parser.parse_args()
    real = run_all(options.seconds, options.apscheduler4)
    answers = ask_all(options.apscheduler4)
    day = {name: day_of(name, options.day) for name in WAYS}
    (GUIDE / "conformance.md").write_text(page(answers, real, day, options.seconds), "utf-8")
    (GUIDE / "pictures" / "drift.svg").write_text(picture(real, options.seconds), "utf-8")


if __name__ == "__main__":
    main()
