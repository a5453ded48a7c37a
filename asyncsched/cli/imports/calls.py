"""The calls of APScheduler that change jobs while the program runs: each is reported with what to write here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from asyncsched._core.errors import AsyncSchedError
from asyncsched._scheduler.habits import CALLS
from asyncsched.cli.imports.fields import Untold
from asyncsched.cli.imports.found import CallFound, Imported
from asyncsched.cli.imports.python import called, keywords, source_of, value_of
from asyncsched.cli.imports.settings import Settings, is_scheduler, scheduler_names
from asyncsched.cli.imports.triggers import said, trigger_code

_CARRIED = ("add_job", "scheduled_job", "start", "shutdown", "configure", "add_jobstore", "add_executor")
"""What is carried over, or told for the whole file."""

_OF_A_JOB = {
    "remove": "remove_job", "pause": "pause_job", "resume": "resume_job", "reschedule": "reschedule_job",
    "modify": "modify_job",
}  # fmt: skip
"""The methods of a job, as those of the scheduler that do the same."""

_ERRORS = {
    "JobLookupError": "catch UnknownSchedule; cancel_many raises nothing, and returns how many runs it cancelled",
    "ConflictingIdError": "catch ScheduleExists; schedule_once returns the handle of the run that has the key, with "
    "created=False, and raises KeyConflict if that run has other arguments",
}
"""What to catch in place of an error of APScheduler's."""

_LISTENERS = {
    "EVENT_JOB_ERROR": "write @scheduler.on_failure on {f}, which then takes a Failure (its run and its text)",
    "EVENT_JOB_EXECUTED": "write Scheduler(observers=[{f}]) and {f}.wants = RunSucceeded",
    "EVENT_JOB_MISSED": "write Scheduler(observers=[{f}]) and {f}.wants = SlotsSkipped",
    "EVENT_JOB_MAX_INSTANCES": "write Scheduler(observers=[{f}]) and {f}.wants = SlotsSkipped",
    "EVENT_JOB_SUBMITTED": "write Scheduler(observers=[{f}]) and {f}.wants = RunStarted",
    "EVENT_SCHEDULER_STARTED": "write Scheduler(observers=[{f}]) and {f}.wants = SchedulerStarted",
    "EVENT_SCHEDULER_START": "write Scheduler(observers=[{f}]) and {f}.wants = SchedulerStarted",
    "EVENT_SCHEDULER_SHUTDOWN": "write Scheduler(observers=[{f}]) and {f}.wants = SchedulerStopped",
}
"""What hears the events here; the classes are those of ``asyncsched.events``."""


def report_calls(
    tree: ast.Module, text: str, settings: Settings, kinds: Mapping[str, str], found: Imported
) -> None:
    """Report the calls and attributes of schedulers and of jobs, in the order of their lines.

    Args:
        tree: the module, with its constants filled in.
        text: its source.
        settings: those of the scheduler.
        kinds: what became of the jobs that the file adds, by the code of their ids: ``declared``, ``added``, ``once``.
        found: takes the reports.

    """
    names, jobs = scheduler_names(tree), _job_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = node.func.value, node.func.attr
            if ast.unparse(owner) in jobs and name in _OF_A_JOB:
                _keep(found, text, node, _told(_OF_A_JOB[name], node, settings, kinds))
            elif name in CALLS and name not in _CARRIED and (_is_long(name) or is_scheduler(owner, names)):
                _keep(found, text, node, _told(name, node, settings, kinds))
        elif isinstance(node, ast.ExceptHandler) and node.type is not None:
            for one in ast.walk(node.type):
                if isinstance(one, ast.Name | ast.Attribute) and (told := _ERRORS.get(called(one))):
                    _keep(found, text, one, told)
        elif isinstance(node, ast.Attribute):
            if node.attr in ("running", "state") and is_scheduler(node.value, names):
                _keep(found, text, node, CALLS["running"])
            elif node.attr == "next_run_time" and ast.unparse(node.value) in jobs:
                _keep(
                    found,
                    text,
                    node,
                    "write (await scheduler.schedule(id)).next_due; of a one-off, (await run.status()).due",
                )
    found.calls.sort(key=lambda one: one.line)


def _is_long(name: str) -> bool:
    """Whether no other object has a method of that name."""
    return "_job" in name or name in ("add_listener", "remove_listener", "remove_jobstore", "remove_executor")


def _keep(found: Imported, text: str, node: ast.expr, told: str) -> None:
    found.calls.append(CallFound(node.lineno, source_of(text, node), told))


def _job_names(tree: ast.Module) -> set[str]:
    """Return the expressions that the code assigns a job to: what ``add_job``, ``get_job`` and ``get_jobs`` return."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and called(node.value) in ("add_job", "get_job"):
            found |= {ast.unparse(target) for target in node.targets}
        elif (isinstance(node, ast.NamedExpr) and called(node.value) in ("add_job", "get_job")) or (
            isinstance(node, ast.For | ast.comprehension) and called(node.iter) == "get_jobs"
        ):
            found.add(ast.unparse(node.target))
    return found


def _told(name: str, node: ast.Call, settings: Settings, kinds: Mapping[str, str]) -> str:
    if name == "add_listener":
        return "; ".join(_listeners(node))
    id = _id_of(node)
    if name == "reschedule_job" and id and (trigger := _trigger(node, settings)):
        return f"write await scheduler.reschedule({id}, {trigger})"
    if name == "modify_job" and "next_run_time" in keywords(node):
        return f"write await scheduler.run_now({id or 'id'}) for a run at once; for None, await scheduler.pause({id or 'id'})"
    if (
        id in kinds and not id.isidentifier() and name in _BY_KIND[kinds[id]]
    ):  # a variable may be another job's
        return _BY_KIND[kinds[id]][name].format(id=id)
    return CALLS[name]


_BY_KIND = {
    "declared": {
        "remove_job": "the code declares it: take it out there, or write await scheduler.pause({id})",
        "pause_job": "write await scheduler.pause({id})",
        "resume_job": "write await scheduler.resume({id})",
        "get_job": "write await scheduler.schedule({id})",
    },
    "added": {
        "remove_job": "write await scheduler.remove({id}), which raises UnknownSchedule where remove_job raised JobLookupError",
        "pause_job": "write await scheduler.pause({id})",
        "resume_job": "write await scheduler.resume({id})",
        "get_job": "write await scheduler.schedule({id}), which raises UnknownSchedule where get_job returned None",
    },
    "once": {
        "remove_job": "write await scheduler.cancel_many(key={id}), which returns how many waited: 0 is no error",
        "pause_job": "a run that waits has no pause: write await scheduler.cancel_many(key={id}), and schedule_once again later",
        "get_job": 'write await scheduler.runs(key={id}, state="pending")',
        "modify_job": "write schedule_once(…, key={id}, replace=True) with the new time or arguments",
        "reschedule_job": "write schedule_once(…, key={id}, replace=True) with the new time",
    },
}  # fmt: skip
"""What to write for a job that the same file adds: it became a declared schedule, one that is added, or a one-off."""


def _id_of(node: ast.Call) -> str:
    """Return the id that a call of the scheduler's is for, as code; ``""`` for a call of a job's."""
    first = keywords(node).get("job_id") or (node.args[0] if node.args else None)
    return ast.unparse(first) if first is not None and called(node) in CALLS else ""


def _trigger(node: ast.Call, settings: Settings) -> str:
    """Return the code of a job's new trigger, ``""`` if the program computes it."""
    given = {**dict(zip(("job_id", "jobstore", "trigger"), node.args, strict=False)), **keywords(node)}
    trigger = given.pop("trigger", None)
    kind, more = said(trigger)
    try:
        words = {name: value_of(one) for name, one in given.items()}
        return trigger_code(kind, {**more, **words}, settings) if trigger is not None else ""
    except (Untold, AsyncSchedError):
        return ""


def _listeners(node: ast.Call) -> Iterator[str]:
    words = keywords(node)
    hook = words.get("callback") or (node.args[0] if node.args else None)
    f = ast.unparse(hook) if isinstance(hook, ast.Name | ast.Attribute) else "f"
    mask = words.get("mask") or (node.args[1] if len(node.args) > 1 else None)
    events = [] if mask is None else [
        ast.unparse(one).rpartition(".")[2] for one in ast.walk(mask) if isinstance(one, ast.Name | ast.Attribute)
        and ast.unparse(one).rpartition(".")[2].startswith("EVENT_")
    ]  # fmt: skip
    if "EVENT_ALL" in events:
        events = []
    for event in dict.fromkeys(events):
        rule = _LISTENERS.get(
            event, "there is no such event; the record of what people did is scheduler.activity()"
        )
        yield f"for {event}, {rule.format(f=f)}"
    if not events:
        yield f"{f} hears of every event there; {CALLS['add_listener']}"
