"""A job's result as JSON, by the type that its function declares."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from asyncsched._core.arguments.comparison import Comparison, place_of, restore
from asyncsched._core.arguments.jsonable import (
    NO_NUMBER,
    PLAIN,
    SURELY_READABLE,
    count_nonfinite,
    first_unjsonable,
    is_untyped,
    refuse_unreadable,
    without_order,
)
from asyncsched._core.arguments.schemas import is_exact, is_open, result_adapter
from asyncsched._core.errors import ArgumentError
from asyncsched._core.text import safe_repr, shorten

logger = logging.getLogger("asyncsched.job")

_ZONED = '{"@":['
"""The beginning of a text in which the zones of datetimes stand before the result itself."""


class ResultCodec:
    """Writes the results of one job as JSON, and reads them back.

    Args:
        job: the job's name.
        hint: the return annotation, ``Any`` if there is none.

    Raises:
        ConfigurationError: JSON cannot carry such a result.

    """

    def __init__(self, job: str, hint: Any) -> None:
        self._job = job
        adapter = result_adapter(job, hint)
        # Bound once, past the adapter: its methods take longer than all of the work.
        self._write, self._read = adapter.serializer.to_json, adapter.validator.validate_json
        self._untyped = is_untyped(hint)
        self._compared = not self._untyped and not is_exact(adapter.core_schema)
        self._open = is_open(adapter.core_schema)
        self._told = False

    def encode(self, value: Any) -> str:
        """Return a result as JSON.

        Raises:
            ArgumentError: JSON cannot carry it, or it would come back as another value than the one promised.

        """
        try:
            text = self._write(value, by_alias=True, round_trip=True, warnings="error").decode()
            if (lost := count_nonfinite(value)) and count_nonfinite(self._read(text)) != lost:
                raise ValueError(NO_NUMBER)
            if len(text) > SURELY_READABLE:
                refuse_unreadable(text)
            if self._compared:
                return self._with_zones(value, text)
        except ValidationError as error:
            what = f"{_first(error)}, when it is read back"
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            what = shorten(str(error), 400)
        else:
            if self._untyped and type(value) not in PLAIN and not self._told:
                self._tell(value)
            return text
        raise ArgumentError(
            f"job {self._job!r}: its result {safe_repr(value)} cannot be written as JSON: {what}"
        )

    def _with_zones(self, value: Any, text: str) -> str:
        """Return the text with the zones that it lacks.

        Raises:
            ValueError: another value would come back.

        """
        comparison = Comparison(self._open)
        back = self._read(text)
        found = comparison.find(value, back, ())
        if found is not None:
            place = place_of(found.path)
            raise ValueError(f"{place and f'{place}: '}{found}; {found.remedy}")
        if comparison.undecided:
            again = self._write(back, by_alias=True, round_trip=True, warnings=False).decode()
            if again != text and without_order(from_json(again)) != without_order(from_json(text)):
                raise ValueError("its class does not read the form that it writes")
        if comparison.zones or text.startswith(_ZONED):
            return f'{{"@":{to_json(comparison.zones).decode()},"=":{text}}}'
        return text

    def _tell(self, value: Any) -> None:
        """Log once that a result without a declared type comes back as what JSON has."""
        found = first_unjsonable(value)
        if found:
            self._told = True
            logger.warning(
                "job %r: its result is or has %s, and comes back from the store as what JSON has for it; annotate "
                "the function with the type that it returns", self._job, found,
                extra={"job": self._job},
            )  # fmt: skip

    def decode(self, text: str) -> Any:
        """Return the result that was written, as the type the function declares.

        Raises:
            ArgumentError: the text is not that of such a result.

        """
        try:
            if not self._compared or not text.startswith(_ZONED):
                return self._read(text)
            whole = from_json(text)
            value = self._read(to_json(whole["="]))
            for path, zone in whole["@"]:
                value = restore(value, tuple(path), zone)
            return value
        except ValidationError as error:
            what = _first(error)
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:  # edited by hand, or a zone is unknown
            what = shorten(str(error), 160)
        raise ArgumentError(f"job {self._job!r}: the stored result does not fit: {what}")


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"])
    return f"{place and f'{place}: '}{detail['msg']}"
