"""Calls as JSON: which text is written for which signature, what is read from it, and which text is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    Strict,
    computed_field,
    field_serializer,
)

from asyncsched import ArgumentError, ConfigurationError
from asyncsched._core.arguments.signature import Signature

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Reading(BaseModel):
    value: float = Field(alias="v")
    unit: str = "C"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = ""


@dataclass
class Point:
    x: float
    more: list[int] = field(default_factory=list)


DEFAULT = SecretStr("x")


def even(number: int) -> int:
    if number % 2:
        raise ValueError("it is odd")
    return number


def nothing() -> None: ...
def plain(to: str, subject: str = "Welcome", *, urgent: bool = False) -> None: ...
def untyped(a, b=1, *c, d=2, **e): ...  # type: ignore[no-untyped-def]
def typed(a: int = 1, /, b: int = 2, *more: float, c: str = "", **rest: Point) -> None: ...
def named(
    copy: int, _x: int = 0, self: str = "", model_config: int = 0, p0: int = 0, json: Any = None
) -> None: ...
def odd(a: int = None, b: str = 5, c: tuple[int, ...] = []) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def shaped(reading: Reading, point: Point | None = None, size: Any = None) -> None: ...
def bounded(a: Annotated[int, Field(gt=3)], b: Annotated[int, AfterValidator(even)] = 0) -> None: ...
def sealed(key: SecretStr = DEFAULT, note: str = "") -> None: ...
def given(a: Annotated[int, Field(default=7)], b: Annotated[int, Field(default=8)] = 0) -> None: ...
def pets(pet: Annotated[Cat | Dog, Field(discriminator="kind")], *others: Cat | Dog) -> None: ...
def strict(number: Annotated[int, Strict()]) -> None: ...
def later(when: datetime, *, what: Any = None) -> None: ...
def unresolved(when: datetime, what: set[Undefined], how: int = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def signature(func: Callable[..., Any]) -> Signature:
    return Signature(func, func.__name__)


@pytest.mark.parametrize(
    "func, args, kwargs, text",
    [
        (nothing, (), {}, "{}"),
        (plain, ("ada",), {}, '{"*":1,"to":"ada"}'),
        (plain, ("ada", "Welcome"), {}, '{"*":2,"to":"ada","subject":"Welcome"}'),
        (plain, ("ada",), {"urgent": True}, '{"*":1,"to":"ada","urgent":true}'),
        (plain, (), {"urgent": True, "to": "ada"}, '{"to":"ada","urgent":true}'),
        (untyped, (1,), {}, '{"*":1,"a":1}'),
        (untyped, (1, "x", None, [2]), {}, '{"*":4,"a":1,"b":"x","c":[null,[2]]}'),
        (untyped, (1,), {"z": 3, "*": 5, "d": 4}, '{"*":1,"a":1,"d":4,"e":{"z":3,"*":5}}'),
        (untyped, (), {"args": 3, "a": 1, "e": 5}, '{"a":1,"e":{"args":3,"e":5}}'),
        (typed, (), {}, "{}"),
        (typed, (1, 2, 0.5), {"c": "x", "a": Point(1)},
         '{"*":3,"a":1,"b":2,"more":[0.5],"c":"x","rest":{"a":{"x":1.0,"more":[]}}}'),
        (named, (1, 2, "x"), {"p0": 4, "model_config": 3}, '{"*":3,"copy":1,"_x":2,"self":"x","model_config":3,"p0":4}'),
        (odd, (), {}, "{}"),
        (odd, (1, "x", (1, 2)), {}, '{"*":3,"a":1,"b":"x","c":[1,2]}'),
        (shaped, (Reading(v=1),), {}, '{"*":1,"reading":{"v":1.0,"unit":"C"}}'),
        (shaped, (Reading(v=1, unit="C"), None, {"wide": 2}), {},
         '{"*":3,"reading":{"v":1.0,"unit":"C"},"point":null,"size":{"wide":2}}'),
        (bounded, (4, 2), {}, '{"*":2,"a":4,"b":2}'),
        (sealed, (), {"note": "*****"}, '{"note":"*****"}'),
        (given, (1,), {}, '{"*":1,"a":1}'),
        (pets, (Dog(kind="dog"), Cat(kind="cat")), {}, '{"*":2,"pet":{"kind":"dog","name":""},"others":[{"kind":"cat"}]}'),
        (later, (datetime(2026, 1, 1),), {"what": [1]}, '{"*":1,"when":"2026-01-01T00:00:00","what":[1]}'),
        (later, (datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),), {},
         '{"*":1,"when":"2026-01-01T00:00:00+01:00","@":[[["when"],"Europe/Paris"]]}'),
    ],
)  # fmt: skip
def test_a_call_is_written_by_name_and_read_back(
    func: Callable[..., Any], args: Args, kwargs: Kwargs, text: str
) -> None:
    job = signature(func)
    assert job.encode((args, kwargs)) == text
    assert job.decode(text) == (args, kwargs)


@pytest.mark.parametrize(
    "func, text, call",
    [
        (plain, '{"subject":"Hi","to":"ada","*":2}', (("ada", "Hi"), {})),  # whatever the order
        (plain, '{"to":"eve","to":"ada"}', ((), {"to": "ada"})),  # the last one counts, as everywhere
        (plain, '{"*":"1","to":"ada","urgent":"yes"}', (("ada",), {"urgent": True})),
        (plain, '{"*":9,"to":"ada"}', (("ada", "Welcome"), {})),
        (plain, '{"*":0,"to":"ada"}', ((), {"to": "ada"})),
        (untyped, '{"*":1,"a":1,"c":[2]}', ((1, 2), {})),
        (typed, '{"b":3}', ((1,), {"b": 3})),
        (typed, '{"*":2,"more":[0.5]}', ((1, 2, 0.5), {})),
        (named, '{"copy":1,"json":null}', ((), {"copy": 1, "json": None})),
        (sealed, '{"key":"secret"}', ((), {"key": SecretStr("secret")})),
    ],
)
def test_a_row_is_read_by_the_signature_of_today(
    func: Callable[..., Any], text: str, call: tuple[Args, Kwargs]
) -> None:
    assert signature(func).decode(text) == call


@pytest.mark.parametrize(
    "func, text, said",
    [
        (nothing, "", "argument 'arguments': Invalid JSON: EOF while parsing a value"),
        (nothing, "nonsense", "argument 'arguments': Invalid JSON: expected ident"),
        (nothing, "null", "argument 'arguments': Input should be an object"),
        (nothing, "[1]", "argument 'arguments': Input should be an object"),
        (nothing, '{"x":1}', "argument 'x': Extra inputs are not permitted"),
        (nothing, '{"*":null}', "argument '*': Input should be a valid integer"),
        (plain, "{}", "argument 'to': Field required"),
        (plain, '{"to":1}', "argument 'to': Input should be a valid string"),
        (plain, '{"to":"ada","p0":"ada"}', "argument 'p0': Extra inputs are not permitted"),
        (plain, '{"to":"ada","by_position":1}', "argument 'by_position': Extra inputs are not permitted"),
        (untyped, '{"a":1,"c":5}', "argument 'c': Input should be a valid array"),
        (untyped, '{"a":1,"z":5}', "argument 'z': Extra inputs are not permitted"),
        (typed, '{"more":["x"]}', "argument 'more.0': Input should be a valid number"),
        (typed, '{"rest":{"k":{}}}', "argument 'rest.k.x': Field required"),
        (shaped, '{"reading":{"value":1}}', "argument 'reading.v': Field required"),
        (shaped, '{"reading":{"v":1},"point":{"x":1,"y":2}}', "argument 'point.y': Unexpected keyword argument"),
        (bounded, '{"a":3}', "argument 'a': Input should be greater than 3"),
        (bounded, '{"a":4,"b":3}', "argument 'b': Value error, it is odd"),
        (given, "{}", "argument 'a': Field required"),
        (pets, '{"pet":{"kind":"cow"}}', "argument 'pet': Input tag 'cow' found using 'kind' does not match"),
        (strict, '{"number":"1"}', "argument 'number': Input should be a valid integer"),
        (later, '{"when":"soon","what":1}', "argument 'when': Input should be a valid datetime"),
        (later, '{"when":"2026-01-01T00:00:00Z","@":[[["when"],"Mars/Base"]]}', "the zone 'Mars/Base' of 'when': "),
        (later, '{"when":"2026-01-01T00:00:00Z","@":[[["then"],"UTC"]]}', "the zone 'UTC' of 'then': "),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_refused(func: Callable[..., Any], text: str, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        signature(func).decode(text)
    assert str(caught.value).startswith(f"job '{func.__name__}': the stored arguments do not fit: {said}")


def looped() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "func, args, said",
    [
        (plain, (1,), "argument 'to': Input should be a valid string"),
        (plain, ("ada", "\ud800"), "argument 'subject' cannot be written as JSON: Error serializing to JSON: "),
        (untyped, ("\ud800",), "argument 'a' cannot be written as JSON: Error serializing to JSON: "),
        (untyped, (object(),), "argument 'a' is or has something of type object, which JSON cannot carry"),
        (untyped, (looped(),), "argument 'a' cannot be written as JSON: "),
        (untyped, (1, nested(220), math.inf), "argument 'b' cannot be written as JSON: it is nested too deep to be read back"),
        (untyped, (nested(201),), "argument 'a' cannot be written as JSON: it is nested too deep to be read back"),
        (typed, (1, 2, "x"), "argument 'more.0': Input should be a valid number"),
        (named, (10**4300,), "argument 'copy' cannot be written as JSON: a whole number of more than 4300 digits"),
        (odd, (None,), "argument 'a': Input should be a valid integer"),
        (shaped, ({"value": 1},), "argument 'reading.v': Field required"),
        (bounded, (3,), "argument 'a': Input should be greater than 3"),
        (sealed, (SecretStr("x"),), "argument 'key' has a secret in it"),
        (strict, ("1",), "argument 'number': Input should be a valid integer"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_written_is_refused(func: Callable[..., Any], args: Args, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        signature(func).encode((args, {}))
    assert str(caught.value).startswith(f"job '{func.__name__}': {said}")


def test_a_default_is_not_asked_whether_it_is_a_secret() -> None:
    assert signature(sealed).encode(((), {"note": "**********"})) == '{"note":"**********"}'


class Unfinished(BaseModel):
    part: Missing  # type: ignore[name-defined]  # noqa: F821


def test_a_model_that_lacks_a_part_is_refused_before_anything_is_written() -> None:
    def build(what: Unfinished) -> None: ...
    def built() -> Unfinished:
        return Unfinished()

    for func in (build, built):
        with pytest.raises(
            ConfigurationError, match=r"JSON cannot carry its (parameter 'what'|result) .*'Missing'"
        ):
            signature(func).prepare()


def test_an_annotation_that_cannot_be_resolved_is_named_at_declaration() -> None:
    with pytest.raises(
        ConfigurationError, match=r"the annotation of 'what', set\[Undefined\], cannot be .* TYPE_CHECKING"
    ):
        signature(unresolved).prepare()


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: UUID = Field(default_factory=uuid4)
    items: list[int] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.items)


class Numbered(BaseModel):
    number: int = Field(serialization_alias="no")


class Named(BaseModel):
    id: UUID = Field(default_factory=uuid4, serialization_alias="number")


class Tagged(BaseModel):
    tags: set[str]


class Wolf(BaseModel):
    kind: Literal["wolf"] = "wolf"
    name: str = ""


def test_a_model_is_written_whole() -> None:
    def feed(pet: Wolf | Dog) -> None: ...
    def feed_all(pets: list[Annotated[Wolf | Dog, Field(discriminator="kind")]]) -> None: ...
    def keep(order: Order) -> None: ...

    dog = Dog(name="rex")
    order = Order()
    order.items.append(1)
    for func, given in ((feed, dog), (feed_all, [dog]), (keep, order)):
        codec = signature(func)
        assert codec.decode(codec.encode(((given,), {}))) == ((given,), {})


def test_what_a_class_writes_and_does_not_read_is_refused() -> None:
    def keep(order: Numbered) -> None: ...

    with pytest.raises(ArgumentError, match=r"job 'keep': argument 'order\.number': Field required, when"):
        signature(keep).encode(((Numbered(number=1),), {}))


def test_what_a_class_writes_and_overlooks_when_it_reads_is_refused() -> None:
    def keep(order: Named) -> None: ...

    with pytest.raises(
        ArgumentError, match=r"job 'keep': argument 'order.id': UUID.* would come back from JSON as"
    ):
        signature(keep).encode(((Named(),), {}))


class Cart(BaseModel):
    total: Decimal = 0  # type: ignore[assignment]


@dataclass
class Line:
    price: Decimal


class Words(BaseModel):
    words: Json[set[str]]


_once = count()


class Veiled(BaseModel):
    text: Annotated[
        str,
        BeforeValidator(lambda text: text.partition(":")[2] or text),
        PlainSerializer(lambda text: f"{next(_once)}:{text}"),
    ]


class Priced(BaseModel):
    cents: int
    _unit: str = PrivateAttr()

    @field_serializer("cents")
    def _in_cents(self, cents: int) -> int:
        return cents if self._unit == "ct" else cents * 100


def test_what_is_equal_may_be_written_in_many_ways() -> None:
    def buy(cart: Cart, line: Line) -> None: ...
    def say(words: Words, veiled: Veiled) -> None: ...
    def price(priced: Priced) -> None: ...

    assert signature(buy).encode(((Cart(), Line(5)), {}))  # type: ignore[arg-type]
    for number in range(20):  # a set's order is of chance
        words = Words(words=json.dumps([f"{number} {word}" for word in range(9)]))  # type: ignore[arg-type]
        assert signature(say).encode(((words, Veiled(text="x")), {}))
    priced = Priced(cents=5)
    priced._unit = "ct"
    assert signature(price).encode(((priced,), {}))


def test_a_set_in_a_model_may_be_written_in_any_order() -> None:
    def keep(order: Tagged) -> None: ...

    codec = signature(keep)
    for size in range(50):
        tags = Tagged(tags={f"{size} {number}" for number in range(size)})
        assert codec.decode(codec.encode(((tags,), {}))) == ((tags,), {})
