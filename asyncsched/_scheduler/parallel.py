"""``Scheduler.map``: a parallel loop over many items, and the iterator of its results."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import suppress
from types import FunctionType, TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, cast, overload

from asyncsched._core.arguments.functions import check_function, is_coroutine_function, name_of, unpartial
from asyncsched._core.checks import check_choice, check_int
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.parallel import ItemFailed
from asyncsched._core.text import safe_repr
from asyncsched._engine.parallel.call import LoopOptions, Target
from asyncsched._engine.parallel.loop import ParallelLoop
from asyncsched._engine.runtime import Runtime
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.options import check_flag

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_MOST = 100_000
_USUAL_LIMIT = 100
"""The most calls that are under way at once where no limit is given: fewer, if the executor has fewer places."""


class MapOptions(TypedDict, total=False):
    """The options of :meth:`Parallel.map` beside ``on_error``."""

    executor: str | None
    limit: int | None
    ordered: bool
    batch: int | None
    progress: bool


class ParallelMap(AsyncIterator[R_co], Generic[R_co]):
    """The results of :meth:`Scheduler.map`, to be iterated once with ``async for``.

    Nothing is called before the iteration begins. It ends with its consumer: when the task that waits for a
    result is cancelled, when the ``async for`` is left and the object is no longer referred to, or, exactly then,
    by :meth:`aclose` or at the end of an ``async with`` block.
    """

    def __init__(
        self, runtime: Runtime, target: tuple[Any, str, str], source: Any, options: LoopOptions
    ) -> None:
        self._runtime = runtime
        self._target = target
        self._source: Any = source
        self._options = options
        self._loop: ParallelLoop | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        if self._closed:
            raise StopAsyncIteration
        if self._loop is None:
            func, name, place = self._target
            executor = await self._runtime.opened(place)
            self._loop = ParallelLoop(
                self._runtime.environment, Target(func, name, executor, place), self._source, self._options
            )
            self._source = None
        return cast("R_co", await self._loop.next())

    async def aclose(self) -> None:
        """Cancel the calls that are under way, and wait until they have ended. Idempotent."""
        self._closed = True
        if self._loop is not None:
            await self._loop.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if (loop := self._loop) is not None and not loop.over:
            with suppress(RuntimeError):  # the event loop is over, and the calls with it
                self._runtime.environment.backend.call_soon_threadsafe(loop.stop)

    def __repr__(self) -> str:
        return f"<ParallelMap of {self._target[1]!r} in executor {self._target[2]!r}>"


class Parallel(Face):
    """The part of a scheduler that calls one function with many items."""

    @overload
    def map(
        self, func: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], *,
        on_error: Literal["after", "stop"] = "after", **options: Unpack[MapOptions],
    ) -> ParallelMap[R]: ...  # fmt: skip

    @overload
    def map(
        self, func: Callable[[T], R], items: Iterable[T] | AsyncIterable[T], *,
        on_error: Literal["after", "stop"] = "after", **options: Unpack[MapOptions],
    ) -> ParallelMap[R]: ...  # fmt: skip

    @overload
    def map(
        self, func: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], *,
        on_error: Literal["yield"], **options: Unpack[MapOptions],
    ) -> ParallelMap[R | ItemFailed]: ...  # fmt: skip

    @overload
    def map(
        self, func: Callable[[T], R], items: Iterable[T] | AsyncIterable[T], *,
        on_error: Literal["yield"], **options: Unpack[MapOptions],
    ) -> ParallelMap[R | ItemFailed]: ...  # fmt: skip

    @overload
    def map(
        self, func: str, items: Iterable[Any] | AsyncIterable[Any], *,
        on_error: Literal["after", "stop", "yield"] = "after", **options: Unpack[MapOptions],
    ) -> ParallelMap[Any]: ...  # fmt: skip

    def map(
        self, func: Any, items: Any, *, executor: str | None = None, limit: int | None = None,
        ordered: bool = True, on_error: str = "after", batch: int | None = None, progress: bool = True,
    ) -> ParallelMap[Any]:  # fmt: skip
        """Call a function with each of many items, several at a time; iterate the results as they are done.

        The calls are no runs: they have no row in the ledger, no retry and no timeout, and are gone if the process
        dies. In a job they belong to its run, which shows their progress and has the retry, the timeout and the
        cancel; their ``current_run()`` is that run. Items are taken only as far as ``limit`` and the consumer of
        the results ask for them, so there may be a million of them, or no end.

        Args:
            func: a function of one argument, or the name of a job. Of a job's options only ``executor`` counts.
            items: an iterable or async iterable; an async generator is closed at the end.
            executor: the executor's name; by default the job's, or the usual one for the function.
            limit: how many calls are under way at once, besides the executor's own bound; 100 by default.
            ordered: results in the order of the items; otherwise each as soon as it is there.
            on_error: of an item that fails. ``"after"``: it is left out, all others are done, and ``MapFailed``
                is raised at the end. ``"stop"``: the others are cancelled, and ``ItemFailed`` is raised.
                ``"yield"``: its ``ItemFailed`` is handed out in its place.
            batch: how many items a thread or process gets at once; measured by default, so that short calls
                cost little. 1 for none.
            progress: report the items that are done as the progress of the run around the loop.

        Returns:
            An async iterator of the results.

        Raises:
            SchedulerStateError: the scheduler is not running, or this is another thread.
            ConfigurationError: an argument is wrong, or the executor cannot run the function.
            ArgumentError: the function does not take one item.

        Example:
            >>> async for size in scheduler.map(resize, paths, executor="process", limit=8):
            ...     total += size

        """
        runtime = cast("Runtime", self._here())
        job = self._registry.get(func) if isinstance(func, str) else self._registry.find(func)
        if job is None:
            check_function(func, "map")
        call = cast("Callable[..., Any]", func if job is None else job.func)
        name = name_of(call) if job is None else job.name
        what = f"map over {name!r}"
        usual = "loop" if is_coroutine_function(call) else "thread"
        place = executor or (usual if job is None else job.executor)
        found = self._registry.executor(place, what)
        found.check(call, name)
        _check_takes_one(call, what)
        limit = (
            min(_USUAL_LIMIT, found.capacity)
            if limit is None
            else check_int(limit, f"{what}: limit", 1, _MOST)
        )
        check_choice(on_error, f"{what}: on_error", ("after", "stop", "yield"))
        if batch is not None:
            check_int(batch, f"{what}: batch", 1, _MOST)
        total = len(items) if isinstance(items, Sized) else None
        options = LoopOptions(
            limit, check_flag(ordered, f"{what}: ordered"), on_error,
            batch if found.traits.batches else 1, check_flag(progress, f"{what}: progress"), total,
        )  # fmt: skip
        return ParallelMap(runtime, (call, name, place), _iterator(items, what), options)


def _iterator(items: Any, what: str) -> Iterator[Any] | AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    try:
        iterator: Iterator[Any] = iter(items)
    except TypeError:
        raise ConfigurationError(
            f"{what}: items must be an iterable or async iterable, not {safe_repr(items)}"
        ) from None
    return iterator


def _check_takes_one(func: Any, what: str) -> None:
    if not isinstance(unpartial(func), FunctionType):
        return  # an engine's task may add arguments of its own
    try:
        inspect.signature(func).bind(None)
    except TypeError as error:
        raise ArgumentError(
            f"{what}: the function is called with one item ({error}); bind other arguments by functools.partial"
        ) from error
