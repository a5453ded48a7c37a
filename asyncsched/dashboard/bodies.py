"""The bodies of requests that act, checked by pydantic: unknown fields are refused, and every text has a bound."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from asyncsched.dashboard.problems import Problem

BODY_LIMIT = 64 * 1024
"""The most bytes of a body."""

Text = Annotated[str, StringConstraints(max_length=500)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
B = TypeVar("B", bound=BaseModel)


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

    cron: Annotated[str, StringConstraints(max_length=200)] | None = None
    timezone: Annotated[str, StringConstraints(max_length=100)] = "UTC"
    every_seconds: Annotated[float, Field(gt=0, le=3_153_600_000)] | None = None


class RequeueBody(Note):
    """Whether a letter that was requeued before is run once more."""

    again: bool = False


class Filter(BaseModel):
    """What an operation on many is for: the ids, or all that match."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Name], Field(max_length=1000)] | None = None
    all: bool = False
    state: Text = ""
    q: Text = ""
    job: Text = ""
    schedule: Text = ""
    error_type: Text = ""
    place: Text | None = None
    since: AwareDatetime | None = None


class BulkBody(Note):
    """An operation on many schedules, or on many dead letters, with the number that the person saw."""

    action: Literal["run", "pause", "resume", "requeue", "dismiss"]
    filter: Filter
    expected: Annotated[int, Field(ge=0, le=1_000_000)]


def checked(model: type[B], content: Any) -> B:
    """Return the checked body.

    Raises:
        Problem: 422 with the place and the reason of each fault.

    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [
            {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]}
            for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]
        ]
        first = faults[0]
        raise Problem(
            422, "Wrong body", f"{first['field'] or 'the body'}: {first['message']}", errors=faults
        ) from None
