"""The log lines about instances: what has started, what cannot be meant so, and which instance is dead."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from asyncsched._core.mapping import instance_text
from asyncsched._core.text import counted

if TYPE_CHECKING:
    from asyncsched._core.jobs import JobRegistry
    from asyncsched._core.records import InstanceRecord
    from asyncsched._engine.server import Server
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.scheduler")


def tell_start(store: Store, instance: int, schedules: int, registry: JobRegistry, role: str) -> None:
    """Log the store, the role, the instance, and the number of schedules that it fires."""
    local = sum(declared.job.each_instance for declared in registry.schedules.values())
    apart = f", {local} more in this process alone" if local else ""
    logger.info(
        "the scheduler has started: store %s, role %s, instance %s (host %s, pid %d), %s%s",
        repr(store) if store.durable else type(store).__name__, role, instance_text(instance),
        socket.gethostname(), os.getpid(), counted(schedules, "schedule"), apart,
    )  # fmt: skip


def warn_of_processes(store: Store, registry: JobRegistry, role: str, server: Server) -> None:
    """Warn of several worker processes that share no store."""
    shared = not registry.jobs or not all(job.each_instance for job in registry.jobs.values())
    processes = 1 if store.durable or role == "off" or not shared else server.processes()
    if processes > 1:
        logger.warning(
            "this is one of %d worker processes, and each keeps its schedules and runs in its own memory: every "
            "schedule runs %d times, and a run is unknown to all processes but one. Give the scheduler a store that "
            'they share, such as Scheduler("sqlite:///jobs.db"), declare jobs that each process is to run with '
            "each_instance=True, or serve the app with one worker", processes, processes,
        )  # fmt: skip


def tell_death(dead: int, member: InstanceRecord | None, lease: float, became: Mapping[str, int]) -> None:
    """Log which instance was declared dead, and what became of its runs.

    Args:
        dead: its incarnation.
        member: its record, if it is known here.
        lease: seconds without a heartbeat.
        became: the number of its runs by new state.

    """
    where = "" if member is None else f" (host {member.host}, pid {member.pid})"
    each = [
        f"{count} {'pending again' if state == 'pending' else state}"
        for state, count in sorted(became.items())
    ]
    logger.warning(
        "instance %s%s was declared dead: no heartbeat of it came for %g s; %s",
        instance_text(dead), where, lease, f"of its runs, {', '.join(each)}" if each else "it held no runs",
    )  # fmt: skip
