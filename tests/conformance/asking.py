"""Each library in a process of its own: asked for the due times, or run for a while in real time."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import linear_regression

from tests.conformance.peers import PEERS
from tests.conformance.questions import QUESTIONS
from tests.conformance.ways import WAYS

HERE = Path(__file__).resolve().parent

_PATIENCE = 20
"""Seconds for one answer."""

NEEDS = {
    "APScheduler 4": "needs an environment of its own: pip install apscheduler==4.0.0a6, and --apscheduler4 PYTHON",
    "Celery crontab": "not installed: pip install celery",
    "repeat_every of fastapi-utils": "not installed: pip install fastapi-utils typing-inspect",
    "schedule": "not installed: pip install schedule",
}


@dataclass
class Answers:
    """What a library said: its version, its answers by the names of the questions; or why it was not asked."""

    version: str = ""
    skipped: str = ""
    given: dict[str, list[str]] = field(default_factory=dict)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "PYTHONWARNINGS": "ignore"}


def _start(program: str, python: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, str(HERE / program), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=_environment(), cwd=HERE.parents[1],
    )  # fmt: skip


def _line(process: subprocess.Popen[str]) -> str | None:
    """Return the next line of an answer; ``None`` where none comes in time."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _PATIENCE)[0]:
        return None
    return process.stdout.readline()


def missing(name: str, version: str) -> str:
    """Return why a library is not asked, ``""`` if it is."""
    if version and (name != "APScheduler 4" or version.startswith("4")):
        return ""
    return NEEDS.get(name, "not installed")


def ask(name: str, python: str = sys.executable) -> Answers:
    """Ask one library all questions. One that gives no answer in twenty seconds is asked the next in a new process."""
    answers = Answers()
    for question in QUESTIONS:
        process = _start("peers.py", python, name)
        version = _line(process)
        answers.version = json.loads(version) if version else ""
        answers.skipped = missing(name, answers.version)
        if answers.skipped:
            _end(process)
            break
        said = _asked(process, asdict(question), max(1, len(question.right)))
        answers.given[question.name] = said
    return answers


def _asked(process: subprocess.Popen[str], question: dict[str, object], count: int) -> list[str]:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps([question, count]) + "\n")
        process.stdin.flush()
        line = _line(process)
        return [f"no answer in {_PATIENCE} s"] if line is None else json.loads(line)  # type: ignore[no-any-return]
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def ask_all(apscheduler4: str) -> dict[str, Answers]:
    """Ask all libraries."""
    return {name: ask(name, apscheduler4 if name == "APScheduler 4" else sys.executable) for name in PEERS}


@dataclass
class Drift:
    """The calls of one way: when each began, and its version; or why it was not tried."""

    version: str = ""
    skipped: str = ""
    starts: list[float] = field(default_factory=list)

    @property
    def behind(self) -> float:
        """How many seconds the last call was behind its second, counted from the first call."""
        return self.starts[-1] - self.starts[0] - (len(self.starts) - 1)

    @property
    def an_hour(self) -> float:
        """The drift of an hour in seconds: the slope through all calls, so that one late call does not count as drift."""
        times, behind = zip(*self.behind_at(), strict=True)
        return linear_regression(times, behind).slope * 3600

    def behind_at(self) -> list[tuple[float, float]]:
        """Return for each call the time since the first one, and how far it was behind its second."""
        first = self.starts[0]
        return [(at - first, at - first - number) for number, at in enumerate(self.starts)]


def run_all(seconds: float, apscheduler4: str) -> dict[str, Drift]:
    """Run all ways side by side in real time, each in a process of its own."""
    running = {
        name: _start(
            "ways.py", apscheduler4 if name == "APScheduler 4" else sys.executable, name, str(seconds)
        )
        for name in WAYS
    }
    return {name: _drift(name, process, seconds) for name, process in running.items()}


def _drift(name: str, process: subprocess.Popen[str], seconds: float) -> Drift:
    out, _ = process.communicate(timeout=seconds + 60)
    lines = out.splitlines()
    version, starts = json.loads(lines[-1]) if lines else ("", [])
    skipped = missing(name, version)
    return Drift(version, skipped, [] if skipped else starts)


def right_of(answers: Answers) -> Iterable[tuple[str, bool]]:
    """Yield each question's name, and whether the answer was right."""
    for question in QUESTIONS:
        yield question.name, is_right(question.right, answers.given.get(question.name, []))


def is_right(right: tuple[str, ...], given: list[str]) -> bool:
    """Whether an answer is the right one; where an expression is to be refused, so is no due time at all."""
    from datetime import datetime

    if not right:
        return not given or given[0].startswith("refused")
    if any(not one[:1].isdigit() for one in given):
        return False
    return [datetime.fromisoformat(one) for one in given] == [datetime.fromisoformat(one) for one in right]
