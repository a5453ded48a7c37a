"""An exception of a process job is what it would be in a thread: in ``except``, in ``Retry``, in the history."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from asyncsched import Retry, RunFailed, Scheduler
from asyncsched.executors import ProcessExecutor
from asyncsched.executors.process import RemoteError
from tests.executors import failures, jobs
from tests.executors.helpers import call

pytestmark = [
    pytest.mark.real_time,  # processes work in real time
    pytest.mark.anyio,
    pytest.mark.only_on("asyncio"),  # what becomes of an exception on its way is the worker's affair
]


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    async with ProcessExecutor(1) as executor:
        yield executor


@pytest.mark.blocking_ok  # the scheduler joins its watchdog
@pytest.mark.parametrize("executor_name", ["thread", "process"])
@pytest.mark.parametrize(
    "job, on",
    [
        (failures.api_error, failures.ApiError),
        (failures.session_error, failures.Session),
        (failures.session_error, failures.ServiceError),
    ],
    ids=["other arguments", "cannot be pickled", "a base of that"],
)
async def test_a_retry_matches_the_exceptions_of_a_process_job(
    tmp_path: Path, job: Callable[[str], None], on: type[Exception], executor_name: str
) -> None:
    scheduler = Scheduler()
    scheduler.job(name="job", executor=executor_name, retry=Retry(3, on=on, delay=0))(
        functools.partial(job, str(tmp_path))
    )
    async with scheduler:
        handle = await scheduler.schedule_once("job")
        with pytest.raises(RunFailed) as failed:
            await handle.result()
    assert len(list(tmp_path.iterdir())) == 3
    kind = failures.ApiError if job is failures.api_error else failures.Session
    assert failed.value.error_type == f"tests.executors.failures.{kind.__name__}"


@pytest.mark.parametrize("kind", ["api", "disk", "slots", "frozen", "group", "unicode"])
async def test_an_exception_travels_whatever_its_init_takes(executor: ProcessExecutor, kind: str) -> None:
    with pytest.raises(BaseException) as raised:
        await call(executor, failures.raise_, kind)
    error, expected = raised.value, failures.make(kind)
    for one, other in [
        (error, expected),
        *zip(getattr(error, "exceptions", ()), getattr(expected, "exceptions", ()), strict=True),
    ]:
        assert type(one) is type(other)
        assert str(one) == str(other)
        for name in ("status", "body", "errno", "strerror", "filename", "device", "place", "reason", "start"):
            assert getattr(one, name, None) == getattr(other, name, None)
    assert kind == "group" or error.args == expected.args
    assert error.__notes__ == ["a note"]


async def test_an_exception_that_pickle_cannot_read_again_travels(executor: ProcessExecutor) -> None:
    with pytest.raises(jobs.Picky, match="1 and 2"):
        await call(executor, jobs.raises, jobs.Picky, 1, 2)


async def test_the_stand_in_for_an_exception_is_one_of_its_class_and_has_its_name(
    executor: ProcessExecutor,
) -> None:
    with pytest.raises(failures.ServiceError) as raised:
        await call(executor, failures.raise_only_here)
    error = raised.value
    assert isinstance(error, RemoteError)
    assert isinstance(error, failures.Session)
    assert (type(error).__module__, type(error).__qualname__) == ("nowhere", "OnlyHere")
    assert error.error_type == "nowhere.OnlyHere"
    assert error.message == "the session is closed"
