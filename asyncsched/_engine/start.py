"""The lines that a scheduler writes when it has started: what it is, and what cannot be meant so."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from asyncsched._core.mapping import instance_text
from asyncsched._core.text import counted

if TYPE_CHECKING:
    from asyncsched._core.jobs import JobRegistry
    from asyncsched._engine.server import Server
    from asyncsched._engine.worker import Worker

logger = logging.getLogger("asyncsched.scheduler")


def tell_start(worker: Worker, registry: JobRegistry, role: str, server: Server) -> None:
    """Log the store, the role, the instance and the number of schedules; warn of worker processes without a store."""
    me = worker.membership.me.incarnation if worker.membership is not None else worker.ids.instance
    local = sum(declared.job.each_instance for declared in registry.schedules.values())
    apart = f", {local} more in this process alone" if local else ""
    logger.info(
        "the scheduler has started: store %r, role %s, instance %s (host %s, pid %d), %s%s",
        worker.store, role, instance_text(me), socket.gethostname(), os.getpid(),
        counted(len(worker.agenda.schedules), "schedule"), apart,
    )  # fmt: skip
    shared = not registry.jobs or not all(job.each_instance for job in registry.jobs.values())
    processes = 1 if worker.store.durable or role == "off" or not shared else server.processes()
    if processes > 1:
        logger.warning(
            "this is one of %d worker processes, and each keeps its schedules and runs in its own memory: every "
            "schedule runs %d times, and a run is unknown to all processes but one. Give the scheduler a store that "
            'they share, such as Scheduler("sqlite:///jobs.db"), declare jobs that each process is to run with '
            "each_instance=True, or serve the app with one worker", processes, processes,
        )  # fmt: skip
