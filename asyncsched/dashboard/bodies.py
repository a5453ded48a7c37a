"""The bodies of requests that act, checked by pydantic: unknown fields are refused, and every text has a bound."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationError,
)

from asyncsched.dashboard.problems import Problem

BODY_LIMIT = 64 * 1024
"""The most bytes of a body."""

BULK_LIMIT = 2 * 1024 * 1024
"""The most bytes of the body of an operation on many: so many ids of the longest kind fit."""

Condition = dict[str, Any]
"""A part of a schema that pydantic's types do not say."""


def any_given(**fields: Condition) -> Condition:
    """Return the condition that at least one of some fields is given, and not empty."""
    return {"anyOf": [{"required": [name], "properties": {name: field}} for name, field in fields.items()]}


_TEXT: Condition = {"type": "string", "pattern": r"\S"}
_IDS: Condition = {"type": "array"}
_TRUE: Condition = {"const": True}

Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\u0000]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Note(BaseModel):
    """A note for the record of what people did."""

    model_config = ConfigDict(extra="forbid")

    note: Text = ""


class RunBody(Note):
    """Arguments in place of a schedule's own, for this run only."""

    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None


class RunJobBody(RunBody):
    """Arguments of a job, and when it is to run: at once, after a delay, or at a moment; a key has one live run."""

    delay_seconds: Annotated[float, Field(ge=0, le=3_153_600_000)] | None = None
    at: AwareDatetime | None = None
    key: Name | None = None


class BackfillBody(Note):
    """The stretch of time whose slots are to be run."""

    start: AwareDatetime
    end: AwareDatetime
    only_missed: bool = True
    dry_run: bool = False


class RescheduleBody(Note):
    """The new trigger: a cron expression with its zone, or a number of seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["cron"],
                    "properties": {"cron": {"type": "string"}, "every_seconds": {"type": "null"}},
                },
                {
                    "required": ["every_seconds"],
                    "properties": {"every_seconds": {"type": "number"}, "cron": {"type": "null"}},
                },
            ]
        }
    )

    cron: Annotated[str, StringConstraints(max_length=200)] | None = None
    timezone: Annotated[str, StringConstraints(max_length=100)] = "UTC"
    every_seconds: Annotated[float, Field(gt=0, le=3_153_600_000)] | None = None


class RequeueBody(Note):
    """Whether a letter that was requeued before is run once more."""

    again: bool = False


class ScheduleFilter(BaseModel):
    """The schedules of an operation on many: those of the ids, or all that match."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=any_given(ids=_IDS, all=_TRUE, state=_TEXT, q=_TEXT)
    )

    ids: Annotated[list[Name], Field(max_length=1000)] | None = None
    all: bool = False
    state: Text = ""
    q: Text = ""


class LetterFilter(BaseModel):
    """The failed runs of an operation on many: those of the ids, or all that match."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=any_given(
            ids=_IDS, all=_TRUE, job=_TEXT, schedule=_TEXT, error_type=_TEXT, since={"type": "string"}
        ),
    )

    ids: Annotated[list[Name], Field(max_length=1000)] | None = None
    all: bool = False
    job: Text = ""
    schedule: Text = ""
    error_type: Text = ""
    place: Text | None = None
    since: AwareDatetime | None = None


Expected = Annotated[int, Field(ge=0, le=1_000_000)]


class ScheduleBulk(Note):
    """An operation on many schedules, with the number that the person saw."""

    action: Literal["run", "pause", "resume"]
    filter: ScheduleFilter
    expected: Expected


class LetterBulk(Note):
    """An operation on many failed runs, with the number that the person saw."""

    action: Literal["requeue", "dismiss"]
    filter: LetterFilter
    expected: Expected


class BulkBody(RootModel[Annotated[ScheduleBulk | LetterBulk, Field(discriminator="action")]]):
    """An operation on many."""


def checked(model: type[BaseModel], content: Any) -> Any:
    """Return the checked body.

    Raises:
        Problem: 422 with the place and the reason of each fault.

    """
    try:
        found = model.model_validate(content)
    except ValidationError as error:
        faults = [
            {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]}
            for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]
        ]
        first = faults[0]
        raise Problem(
            422, "Wrong body", f"{first['field'] or 'the body'}: {first['message']}", errors=faults
        ) from None
    return found.root if isinstance(found, RootModel) else found
