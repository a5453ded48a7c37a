"""APScheduler 3's SQLAlchemy job store: rows with pickles, of which no code is executed.

The unpickler knows plain values, dates, zones and APScheduler's triggers; the triggers become :class:`Recorded`, which
keeps their state. Whatever else a pickle names is refused, so that a stranger's row can do nothing.
"""

from __future__ import annotations

import datetime as dates
import io
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from asyncsched.cli.faults import UNREACHABLE, USAGE, Fault
from asyncsched.cli.imports.apscheduler import complete
from asyncsched.cli.imports.fields import WEEKDAYS, Untold
from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.cli.imports.settings import Settings, keep_store, store_url
from asyncsched.cli.imports.triggers import Said

_TABLE = "apscheduler_jobs"
_PLAIN = {
    ("datetime", "datetime"): dates.datetime, ("datetime", "date"): dates.date, ("datetime", "timedelta"): dates.timedelta,
    ("datetime", "timezone"): dates.timezone, ("datetime", "time"): dates.time, ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset, ("builtins", "slice"): slice,
}  # fmt: skip
_NTH = ("1st", "2nd", "3rd", "4th", "5th", "last")


class Recorded:
    """An object of APScheduler, as its state."""

    kind = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: dict[str, Any] = {"args": args, **kwargs}

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.state = {
            key: value for part in parts if isinstance(part, Mapping) for key, value in part.items()
        }


class _Reader(pickle.Unpickler):
    """Reads pickles of plain values and of APScheduler's triggers."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("apscheduler."):
            return type(name, (Recorded,), {"kind": name})
        if (module, name) in (("zoneinfo", "ZoneInfo"), ("zoneinfo._zoneinfo", "ZoneInfo")):
            return ZoneInfo
        if (module, name) == ("builtins", "getattr"):
            return _zone_maker
        if module.startswith("pytz"):
            return _zone_of_pytz
        found = _PLAIN.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found


def _zone_maker(of: Any, name: Any) -> Any:
    """Return the one attribute that a pickle may ask for: ``ZoneInfo._unpickle``."""
    if of is ZoneInfo and name == "_unpickle":
        return lambda key, *_: ZoneInfo(key)
    raise pickle.UnpicklingError(f"it asks for the attribute {name!r}")


def _zone_of_pytz(name: str = "UTC", *_: Any) -> Any:
    return ZoneInfo(name)


def read_job_store(url: str) -> Imported:
    """Return the jobs of a SQLAlchemy job store.

    Args:
        url: ``sqlite:///file``, or any other that SQLAlchemy opens.

    Raises:
        Fault: it cannot be read, or has no such table.

    """
    found = Imported("APScheduler 3's job store")
    for id, blob in _rows(url):
        one = Found(name_of(id, [other.name for other in found.schedules]), f"job {id}", id)
        found.schedules.append(one)
        try:
            state = _state(blob)
            kind, given = _given(state)
        except (Untold, pickle.UnpicklingError, ValueError, TypeError, AttributeError, EOFError) as error:
            one.fault = f"its row cannot be read: {error}"
            continue
        one.source = f"{id}: {state.get('func')} {state.get('trigger').__class__.__name__}"
        complete(one, str(state.get("func") or ""), kind, given, Settings("UTC"))
        begin = state["trigger"].state.get("start_date")
        if one.trigger.startswith("Interval(") and begin is not None:
            one.notes.append(
                f"its grid there began at {begin.isoformat()}, and here begins at the first start; "
                f"Interval(…, start=datetime.fromisoformat({begin.isoformat()!r})) goes on with the old one"
            )
        if state.get("next_run_time") is None:
            one.notes.append("it is paused there: await scheduler.pause(id) where the app starts")
    if (kept := store_url(url)) not in ("", "memory://"):
        keep_store(url, kept, found)
    found.note(
        "the rows' functions are imported by their names; the module that starts APScheduler must not be among them"
    )
    return found


def _rows(url: str) -> Iterator[tuple[str, bytes]]:
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            raise Fault(UNREACHABLE, f"there is no file {path}")
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                yield from connection.execute(f"SELECT id, job_state FROM {_TABLE} ORDER BY id").fetchall()
        except sqlite3.Error as error:
            raise Fault(UNREACHABLE, f"{path} is no job store: {error}") from None
        return
    try:
        import sqlalchemy
    except ImportError:
        raise Fault(
            USAGE, "another database than SQLite needs sqlalchemy", "pip install sqlalchemy"
        ) from None
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execute(
                sqlalchemy.text(f"SELECT id, job_state FROM {_TABLE} ORDER BY id")
            ).all()
        engine.dispose()
    except Exception as error:
        raise Fault(UNREACHABLE, f"the job store cannot be read: {type(error).__name__}") from None
    yield from ((str(id), bytes(blob)) for id, blob in rows)


def _state(blob: bytes) -> dict[str, Any]:
    state = _Reader(io.BytesIO(blob)).load()
    if not isinstance(state, dict):
        raise ValueError("it is no job's state")
    return state


def _given(state: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind of a job's trigger, with its arguments and the job's options."""
    trigger = state.get("trigger")
    if not isinstance(trigger, Recorded):
        raise Untold("its trigger is not one of APScheduler's")
    options = {
        name: _shown(state.get(name))
        for name in ("id", "args", "kwargs", "max_instances", "coalesce", "misfire_grace_time")
    }
    kind, given = _said(trigger.kind, trigger.state)
    return kind, {**given, **options}


def _said(kind: str, inner: Mapping[str, Any]) -> Said:
    """Return a trigger's kind and arguments, from its state."""
    edges = {name: inner.get(name) for name in ("start_date", "end_date", "jitter") if inner.get(name)}
    zone = {"timezone": str(inner.get("timezone") or "UTC")}
    if kind == "CronTrigger":
        return "cron", {**_fields(inner), **zone, **edges}
    if kind == "IntervalTrigger":
        span: dates.timedelta = inner["interval"]
        seconds = {"seconds": int(span.total_seconds()) if not span.microseconds else span.total_seconds()}
        return "interval", {**seconds, **{name: edges[name] for name in edges if name != "start_date"}}
    if kind == "DateTrigger":
        return "date", {"run_date": inner["run_date"]}
    if kind == "CalendarIntervalTrigger":
        hour, minute, second = inner["time"]
        spans = dict(zip(("years", "months", "weeks", "days"), inner["interval"], strict=True))
        return "calendarinterval", {
            **spans, "hour": hour, "minute": minute, "second": second, **zone, **edges,
        }  # fmt: skip
    if kind in ("OrTrigger", "AndTrigger"):
        parts = [_said(str(place).rpartition(":")[2], state) for place, state in inner["triggers"]]
        return kind.removesuffix("Trigger").lower(), {"triggers": parts, **edges}
    raise Untold(f"a {kind} is not known here")


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fields(state: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for one in state["fields"]:
        inner = one.state
        if not inner.get("is_default"):
            found[str(inner["name"])] = ",".join(_expression(part) for part in inner["expressions"])
    return found


def _expression(part: Recorded) -> str:
    """Return an expression of a field as APScheduler writes it."""
    state, kind = part.state, part.kind
    step = f"/{state['step']}" if state.get("step") else ""
    if kind == "AllExpression":
        return f"*{step}"
    if kind == "LastDayOfMonthExpression":
        return "last"
    if kind == "WeekdayPositionExpression":
        return f"{_NTH[state['option_num']]} {WEEKDAYS[state['weekday']]}"
    first, last = state.get("first"), state.get("last")
    if first is None:
        raise Untold(f"the expression {kind} is not known")
    return f"{first}{'' if last in (None, first) else f'-{last}'}{step}"
