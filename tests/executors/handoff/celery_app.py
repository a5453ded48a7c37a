"""The Celery app of the tests: ``REDIS_URL`` names its broker."""

from __future__ import annotations

import os

from celery import Celery

from tests.executors.handoff import tasks

app = Celery("tests", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
app.conf.task_serializer = app.conf.result_serializer = "json"

add = app.task(name="tests.add")(tasks.add)
refuse = app.task(name="tests.refuse")(tasks.refuse)
work = app.task(name="tests.work")(tasks.work)
