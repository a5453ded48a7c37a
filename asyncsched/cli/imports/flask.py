"""The configuration of Flask-APScheduler: ``SCHEDULER_…`` and ``JOBS``, of a class or of ``app.config``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from asyncsched.cli.imports.python import entries

SETTINGS = {
    "SCHEDULER_TIMEZONE": "timezone", "SCHEDULER_JOBSTORES": "jobstores", "SCHEDULER_EXECUTORS": "executors",
    "SCHEDULER_JOB_DEFAULTS": "job_defaults",
}  # fmt: skip
"""The names of a scheduler's arguments in the configuration."""


def configured(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the arguments of the scheduler that a configuration has, by their names."""
    return {SETTINGS[name]: value for name, value in _assignments(tree) if name in SETTINGS}


def listed_jobs(tree: ast.Module) -> Iterator[tuple[ast.expr, dict[str, ast.expr]]]:
    """Yield the jobs of ``JOBS``, each with the arguments of ``add_job``."""
    for name, value in _assignments(tree):
        if name not in ("JOBS", "SCHEDULER_JOBS") or not isinstance(value, ast.List | ast.Tuple):
            continue
        for item in value.elts:
            words = entries(item)
            if words is None or "func" not in words:
                continue
            if inner := entries(words.get("trigger")):  # {"type": "cron", "hour": 7}
                words |= {name: one for name, one in inner.items() if name != "type"}
                words["trigger"] = inner.get("type", ast.Constant("date"))
            yield item, words


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
                elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                    yield str(target.slice.value), node.value
