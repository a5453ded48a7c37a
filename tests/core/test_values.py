"""Frozen values: as a frozen dataclass with slots is, though their methods are compiled with the first value."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field

import pytest

from asyncsched._core.values import compile_methods, value


@value
class Base:
    """A class of values."""

    at: int


@value
class Place(Base):
    """A class of values with defaults, and fields that do not count or are not shown."""

    name: str = ""
    tags: list[str] = field(default_factory=list, compare=False)
    secret: str = field(default="", repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The same, as the standard library makes it."""

    at: int
    name: str = ""
    tags: list[str] = field(default_factory=list, compare=False)
    secret: str = field(default="", repr=False, compare=False)


def test_a_value_is_made_shown_and_compared_as_a_frozen_dataclass_is() -> None:
    assert repr(Place(1, secret="s")) == repr(Model(1, secret="s")).replace("Model", "Place")
    assert Place(1, "a", ["x"]) == Place(1, "a", [], "y") != Place(2, "a")
    assert Place(1) != Base(1)
    assert hash(Place(1, "a", ["x"])) == hash(Model(1, "a"))
    assert inspect.signature(Place) == inspect.signature(Model)
    assert [one.name for one in dataclasses.fields(Place)] == list(Place.__match_args__)
    assert Place(1).tags is not Place(1).tags


@pytest.mark.parametrize("name", ["at", "name", "other"])
def test_a_value_cannot_be_changed(name: str) -> None:
    place = Place(1)
    with pytest.raises(FrozenInstanceError, match=name):
        setattr(place, name, 2)
    with pytest.raises(FrozenInstanceError, match=name):
        delattr(place, name)
    assert not hasattr(place, "__dict__")


def test_a_value_is_copied_replaced_and_pickled() -> None:
    place = Place(1, "a", ["x"])
    assert dataclasses.replace(place, at=2) == Place(2, "a")
    assert dataclasses.asdict(place) == {"at": 1, "name": "a", "tags": ["x"], "secret": ""}
    assert copy.deepcopy(place).tags == ["x"]
    assert pickle.loads(pickle.dumps(place)).tags == ["x"]


def test_a_wrong_call_names_the_class_and_the_field() -> None:
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'at'"):
        Place()  # type: ignore[call-arg]


def test_a_method_of_the_class_itself_is_kept_and_subclasses_have_their_own() -> None:
    @value
    class Loud:
        text: str

        def __repr__(self) -> str:
            return self.text.upper()

    @value
    class Louder(Loud):
        times: int = 2

    class Plain(Louder):
        """A subclass that is no class of values."""

    assert repr(Loud("a")) == "A"
    assert repr(Louder("a")).endswith("Louder(text='a', times=2)")
    plain = Plain("a", 3)
    assert (plain.times, plain == Plain("a", 3)) == (3, True)
    plain.note = "its own"  # type: ignore[attr-defined]
    del plain.note  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError, match="times"):
        plain.times = 4  # type: ignore[misc]


def test_methods_are_compiled_beforehand_where_time_counts_later() -> None:
    @value
    class Early:
        number: int = 0

    compile_methods(Early)
    assert inspect.isfunction(vars(Early)["__init__"])
    assert repr(Early(1)).endswith("Early(number=1)")
