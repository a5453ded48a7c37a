"""The machine's own clock, stepped under a running scheduler by libfaketime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.waiting import PATIENCE

# The child process has an interval, a cron job of every second and a delay. What runs is written out:
# what, its slot, the wall clock and the monotonic one. The interval's runs queue up, because on a busy
# machine one may not be through when the next is due.
CHILD = """
import json, sys, time
import anyio
from asyncsched import Misfire, Scheduler, current_run

scheduler = Scheduler()

def tell(what, slot=None):
    print(json.dumps([what, slot and slot.timestamp(), time.time(), time.monotonic()]), flush=True)

@scheduler.interval(seconds=0.25, misfire=Misfire("all"), overlap="queue_all")
async def tick():
    tell("tick", current_run().scheduled_for)

@scheduler.cron("* * * * * *")
async def cron():
    tell("cron", current_run().scheduled_for)

@scheduler.job()
async def delayed():
    tell("delayed")

async def main():
    async with scheduler:
        await scheduler.schedule_once(delayed, delay=1)
        tell("start")
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main, backend=sys.argv[1])
"""


def libfaketime() -> str:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"):
        path = Path(folder, "faketime", "libfaketime.so.1")
        if path.exists():
            return str(path)
    if os.environ.get("CI"):
        pytest.fail("libfaketime is missing: the Debian package is called faketime")
    pytest.skip("libfaketime is not installed; the Debian package is called faketime")


class Told(NamedTuple):
    """What the child wrote when something ran."""

    what: str
    slot: float | None
    wall: float
    monotonic: float


class Faked:
    """A child process that runs under libfaketime, and its wall clock."""

    def __init__(self, folder: Path, backend: str) -> None:
        self._file = folder / "wall"
        self.set("+0")
        environment = os.environ | {
            "LD_PRELOAD": libfaketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self._child = subprocess.Popen(
            [sys.executable, "-c", CHILD, backend],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def set(self, offset: str) -> None:
        """Step the wall clock to so far from the machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._file)

    def started(self) -> Told:
        """Wait until the scheduler runs."""
        assert self._child.stdout is not None
        return Told(*json.loads(self._child.stdout.readline()))

    def until_ticks(self, wall: float, told: list[Told]) -> None:
        """Read on until the interval has run twice at about this wall time."""
        assert self._child.stdout is not None
        seen = 0
        while seen < 2:
            told.append(one := Told(*json.loads(self._child.stdout.readline())))
            seen += one.what == "tick" and abs(one.wall - wall) < 600

    def end(self) -> list[Told]:
        """End it, and return what else it wrote."""
        output, _ = self._child.communicate("")
        assert self._child.returncode == 0
        return [Told(*json.loads(line)) for line in output.splitlines()]


@pytest.mark.real_time
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_steps_of_the_real_clock_disturb_no_interval_and_double_no_slot(tmp_path: Path, backend: str) -> None:
    # Real time: the point is the machine's clock, and what the C library makes of it.
    child = Faked(tmp_path, backend)
    start = child.started()
    told: list[Told] = []
    for offset, hours in (("+0", 0), ("-1h", -1), ("+1h", 1), ("+10y", 24 * 365 * 10), ("+0", 0)):
        child.set(offset)
        child.until_ticks(start.wall + hours * 3600, told)
    told += child.end()

    # The interval stands on its grid as if nothing had been, each slot once.
    ticks = [one for one in told if one.what == "tick"]
    first = ticks[0]
    assert [(one.slot or 0) - (first.slot or 0) for one in ticks] == pytest.approx(
        [0.25 * k for k in range(len(ticks))]
    )
    assert max(abs(one.monotonic - first.monotonic - 0.25 * k) for k, one in enumerate(ticks)) < PATIENCE

    (delayed,) = (one.monotonic - start.monotonic for one in told if one.what == "delayed")
    assert 0.5 < delayed < PATIENCE  # "start" is told a little after the delay began

    # Cron follows the clock wherever it is, and no instant runs twice.
    slots = [one.slot for one in told if one.what == "cron"]
    assert len(slots) == len(set(slots)) >= 2
    assert {round((slot - start.wall) / 3600) for slot in slots if slot} >= {1, 24 * 365 * 10}
