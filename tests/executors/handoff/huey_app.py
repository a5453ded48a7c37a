"""The huey instance of the tests: ``HUEY_FILE`` names its database."""

from __future__ import annotations

import functools
import os

from huey import SqliteHuey

from tests.executors.handoff import tasks

app = SqliteHuey(filename=os.environ["HUEY_FILE"], store_none=True)
add, refuse, work = (
    functools.update_wrapper(app.task()(func), func) for func in (tasks.add, tasks.refuse, tasks.work)
)
