from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator

import pytest

from asyncsched._core.context import current_run
from asyncsched._core.errors import ConfigurationError
from asyncsched.executors import LoopExecutor
from tests.executors.helpers import call, new_run


async def double(value: int, *, plus: int = 0) -> int:
    return 2 * value + plus


class Doubler:
    async def __call__(self, value: int) -> int:
        return 2 * value


def plain() -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.anyio
async def test_a_coroutine_function_runs_and_gives_its_value() -> None:
    async with LoopExecutor() as executor:
        assert await call(executor, double, 4, plus=1) == 9


@pytest.mark.anyio
async def test_the_job_knows_the_run_it_is_in() -> None:
    async def job() -> str:
        return current_run().job

    async with LoopExecutor() as executor:
        assert await call(executor, job, job="mine") == "mine"


@pytest.mark.anyio
async def test_no_frame_stands_between_a_coroutine_and_its_task() -> None:
    coroutine = LoopExecutor().run(new_run(), double, (4,), {})
    assert coroutine.cr_code is double.__code__  # type: ignore[attr-defined]
    assert await coroutine == 8


@pytest.mark.parametrize("func", [double, functools.partial(double, 1), Doubler(), Doubler().__call__])
def test_what_makes_a_coroutine_is_accepted(func: object) -> None:
    LoopExecutor().check(func, "job")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "func, words",
    [
        (plain, "plain function.*async def"),
        (functools.partial(plain), "plain function"),
        (generator, "generator"),
        (async_generator, "generator"),
        (Doubler, "is a class"),
    ],
)
def test_everything_else_is_refused_in_words(func: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"job 'report'.*{words}"):
        LoopExecutor().check(func, "report")  # type: ignore[arg-type]


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="capacity"):
        LoopExecutor(0)
