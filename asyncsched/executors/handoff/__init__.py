"""Hand-off: runs whose functions an engine elsewhere calls, with the same handle, history and rules.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``base``; each other module is one
engine, and imports its client library.
"""

from __future__ import annotations

from asyncsched.executors.handoff.base import EngineUnavailable as EngineUnavailable
from asyncsched.executors.handoff.base import HandoffExecutor as HandoffExecutor
from asyncsched.executors.handoff.base import TaskLost as TaskLost
from asyncsched.executors.handoff.named import remote as remote

__all__ = ("EngineUnavailable", "HandoffExecutor", "TaskLost", "remote")
