"""The loop executor: coroutines, in the event loop of the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from asyncsched._core.arguments.functions import check_function, is_coroutine_function
from asyncsched._core.context import CurrentRun
from asyncsched._core.errors import ConfigurationError
from asyncsched.abc import Executor, ExecutorTraits


class LoopExecutor(Executor):
    """Runs coroutine functions in the event loop.

    Cancelling a run cancels its coroutine, which may clean up and await while it does.

    Args:
        capacity: how many attempts may be under way at once.
        name: the executor's name in messages.

    """

    traits = ExecutorTraits(in_loop=True)

    def __init__(self, capacity: int = 1000, *, name: str = "loop") -> None:
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.name = name

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Refuse a function that is no coroutine function.

        Raises:
            ConfigurationError: ``func`` would block the event loop, or is a generator function.

        """
        check_function(func, f"job {job!r}")
        if not is_coroutine_function(func):
            raise ConfigurationError(
                f"job {job!r} is a plain function, which would block the event loop; leave executor= out "
                f'(it then runs in a thread), or declare it with "async def"'
            )

    def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Return the coroutine of the call: no frame of the package stands between it and its task."""
        coroutine: Coroutine[Any, Any, Any] = func(*args, **kwargs)
        return coroutine

    def __repr__(self) -> str:
        return f"<LoopExecutor {self.name!r} capacity {self.capacity}>"
