"""A little chaos in every run of the suite; minutes of it by ``python -m tests.chaos``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Chaos


@pytest.mark.real_time  # real processes are killed and stopped, and the lease is the machine's time
@pytest.mark.blocking_ok
def test_four_workers_on_one_file_lose_and_repeat_nothing(tmp_path: Path) -> None:
    chaos = Chaos(f"sqlite:///{tmp_path}/jobs.db", tmp_path, seed=1521, lease=3.0)
    report = chaos.run(minutes=0.14)  # by this seed: a kill, a stop for longer than the lease, a kill
    assert not (report.duplicates or report.lost or report.dropped or report.stuck), f"{report}"
    # A busy machine is given the time that it takes.
    assert report.slowest < report.patience + 3, f"{report}"
    assert (report.kills, report.freezes) == (2, 1)
    assert report.runs > 100
    assert not chaos.complaints()
