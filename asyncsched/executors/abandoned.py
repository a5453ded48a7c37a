"""The threads whose runs have ended while their functions go on: counted, named, and bounded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from threading import Thread

logger = logging.getLogger("asyncsched.executors")

_NONE: Mapping[str, str] = {}


class AbandonedThreads:
    """The abandoned threads of one executor.

    Args:
        executor: the executor's name.
        most: with so many of them, no run is begun of a job that has one.

    """

    def __init__(self, executor: str, most: int) -> None:
        self._executor = executor
        self._most = most
        self._jobs: dict[Thread, str] = {}

    def __len__(self) -> int:
        return len(self._alive())

    def _alive(self) -> dict[Thread, str]:
        """Return the threads that have not returned. Other threads call it, too, so it changes nothing."""
        return {thread: job for thread, job in list(self._jobs.items()) if thread.is_alive()}

    def add(self, thread: Thread, job: str) -> None:
        """Note a thread that cannot be killed, whose run of this job has ended."""
        self._jobs = {**self._alive(), thread: job}
        count = len(self._jobs)
        logger.warning(
            "a run of job %r was ended but goes on in its thread, which cannot be killed (%d abandoned now); "
            "let the function check current_run().cancelled now and then", job, count,
        )  # fmt: skip
        if count == self._most:
            logger.error(
                "thread executor %r: %d threads go on with runs that have ended (%s); until one of them returns, no run "
                "of those jobs is begun", self._executor, count, _counts(self._jobs),
            )  # fmt: skip

    def held(self) -> Mapping[str, str]:
        """Return the jobs of which no run may begin now, each with the reason."""
        if len(self._jobs) < self._most or len(alive := self._alive()) < self._most:
            return _NONE
        reason = (
            f"one of {len(alive)} threads of executor {self._executor!r} to return, which go on with runs that have "
            f"ended ({_counts(alive)})"
        )
        return dict.fromkeys(alive.values(), reason)

    def names(self) -> str:
        """Return the threads by job and name."""
        return ", ".join(sorted(f"{job!r} in {thread.name}" for thread, job in self._alive().items()))


def _counts(threads: Mapping[Thread, str]) -> str:
    """Return the jobs, each with the number of its threads."""
    return ", ".join(f"job {job!r}: {count}" for job, count in Counter(threads.values()).most_common())
