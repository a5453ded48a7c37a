"""Each engine as it is: a real broker, real workers, killed and restarted in the middle."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asyncsched import RunFailed, Scheduler
from asyncsched.stores.sqlite import SqliteStore
from tests.executors.handoff.services import ENGINES, ROOT, Engine
from tests.leftovers import eventually, our_threads
from tests.waiting import soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,
    pytest.mark.blocking_ok,
    pytest.mark.timeout(180),
    # What the engines' own packages leave to the collector and say of their future is theirs.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = ENGINES[request.param](tmp_path_factory.mktemp(request.param))
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def each_test_leaves_nothing_behind() -> Iterator[None]:
    """No thread of ours is left; the connections of the engine's client are the user's, and stay open."""
    yield
    assert eventually(lambda: not our_threads()), our_threads()


@pytest.fixture
def scheduler(engine: Engine, tmp_path: Path) -> Scheduler:
    return new_scheduler(engine, tmp_path)


def new_scheduler(engine: Engine, folder: Path, timeout: float | None = None) -> Scheduler:
    store = SqliteStore(folder / "jobs.db", poll=0.1, beat=0.2, lease=1.0)
    scheduler = Scheduler(store, executors={"engine": engine.new_executor()}, shutdown_timeout=0)
    for name in ("add", "refuse", "work"):
        scheduler.job(executor="engine", name=name, timeout=timeout)(getattr(engine.functions, name))
    return scheduler


async def test_a_result_comes_back(scheduler: Scheduler) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("add", 2, 3)
        assert await handle.result() == 5
        run = await handle.status()
        assert run.reference is not None and run.reference.split()[0] == handle.id


async def test_an_exception_comes_back_with_its_words(scheduler: Scheduler, engine: Engine) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("refuse", "no such customer")
        with pytest.raises(RunFailed, match="no such customer"):
            await handle.result()
        run = await handle.status()
        assert run.error_type is not None
        assert "ApiError" in (run.error_type if engine.name != "huey" else run.traceback)


async def test_a_function_that_no_worker_knows_fails_with_its_name_and_the_remedy(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.name == "huey":  # its consumer drops such a task, and says so only in its own log
        new_executor = engine.new_executor
        monkeypatch.setattr(engine, "new_executor", lambda: new_executor(longest=1.0))
    scheduler = new_scheduler(engine, tmp_path)
    (tmp_path / f"only_here_{engine.name}.py").write_text("def only_here() -> None: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    func = importlib.import_module(f"only_here_{engine.name}").only_here
    if engine.name in ("celery", "huey"):
        func = engine.functions.app.task(name=f"only_here_{engine.name}.{tmp_path.name}")(func)
    scheduler.job(executor="engine", name="report")(func)
    async with scheduler:
        with pytest.raises(
            RunFailed, match=rf"of job 'report' failed: .*only_here_{engine.name}.*restart them"
        ):
            await (await scheduler.schedule_once("report")).result()
        assert await (await scheduler.schedule_once("add", 1, 1)).result() == 2


async def test_a_task_that_runs_is_cancelled_there(
    scheduler: Scheduler, engine: Engine, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    async with scheduler:
        handle = await scheduler.schedule_once("work", str(begun), 5)
        await soon(lambda: any(begun.iterdir()))
        assert await handle.cancel()
        assert (await handle.status()).state == "cancelled"
        if engine.stops_what_runs:
            await anyio.sleep(6)
            assert not list(begun.glob("*.ended"))
        assert await (await scheduler.schedule_once("add", 1, 1)).result() == 2, "the worker goes on"


async def test_a_thousand_tasks_have_one_poller(scheduler: Scheduler) -> None:
    async with scheduler:
        handles = [await scheduler.schedule_once("add", number, 1) for number in range(1000)]
        assert sum([await handle.result() for handle in handles]) == sum(range(1000)) + 1000


async def test_a_parallel_loop_has_a_task_for_each_item(scheduler: Scheduler) -> None:
    async with scheduler:
        assert [value async for value in scheduler.map("add", range(50), limit=20)] == list(range(1, 51))
        failed = [one async for one in scheduler.map("refuse", ["no"], on_error="yield")]
    assert "item 0 of map over 'refuse' failed" in str(failed[0])


async def test_the_broker_is_restarted_in_the_middle(
    scheduler: Scheduler, engine: Engine, tmp_path: Path
) -> None:
    if engine.restarts is None:
        pytest.skip("this engine has no broker that keeps its data")
    begun = tmp_path / "begun"
    begun.mkdir()
    async with scheduler:
        before = await scheduler.schedule_once("work", str(begun), 2)
        await soon(lambda: any(begun.iterdir()))
        await anyio.to_thread.run_sync(engine.restarts)
        after = await scheduler.schedule_once("add", 2, 3)
        assert await after.result() == 5
        assert await before.result() == "worked"
    assert len(list(begun.glob("*.ended"))) == 1


@pytest.mark.parametrize("engine", ["dask"], indirect=True)
async def test_a_scheduler_of_dask_that_is_restarted_has_lost_its_tasks_and_takes_new_ones(
    engine: Engine, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    async with new_scheduler(engine, tmp_path) as scheduler:
        lost = await scheduler.schedule_once("work", str(begun), 3)
        await soon(lambda: any(begun.iterdir()))
        for process in engine.workers + engine.brokers:
            process.kill()
        for process in engine.brokers + engine.workers:
            process.start()
        run = await lost.wait()
        assert (run.state, run.error_type) == ("failed", "asyncsched.executors.handoff.base.TaskLost")
        assert await (await scheduler.schedule_once("add", 2, 3)).result() == 5


async def test_our_process_is_killed_and_its_successor_takes_the_wait_up(
    engine: Engine, tmp_path: Path, anyio_backend_name: str
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    owner = subprocess.Popen(
        [
            sys.executable, "-m", "tests.executors.handoff.owner", engine.name,
            str(tmp_path / "jobs.db"), engine.where, str(begun),
        ],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=engine.environment(anyio_backend_name),
    )  # fmt: skip
    assert owner.stdout is not None
    id = (await anyio.to_thread.run_sync(owner.stdout.readline)).strip()
    await soon(lambda: any(begun.iterdir()))
    owner.kill()
    owner.communicate()
    async with new_scheduler(engine, tmp_path) as successor:
        run = await successor.handle(id).wait()
        assert (run.state, run.result, run.attempt) == ("succeeded", "worked", 1)
    assert len(list(begun.glob("*.ended"))) == 1, "the task was executed once"


async def test_a_worker_is_killed_in_the_middle(engine: Engine, tmp_path: Path) -> None:
    """The run ends by its timeout, or as the engine itself says; and a worker that is back goes on."""
    begun = tmp_path / "begun"
    begun.mkdir()
    async with new_scheduler(engine, tmp_path, timeout=15) as scheduler:
        handle = await scheduler.schedule_once("work", str(begun), 20)
        await soon(lambda: any(begun.iterdir()))
        for process in engine.workers:
            process.kill()
            process.start()
        run = await handle.wait()
        assert run.state in ("timed_out", "failed"), run
        for _ in range(10):  # the worker needs a while to be back
            run = await (await scheduler.schedule_once("add", 2, 3)).wait()
            if run.state == "succeeded":
                break
        assert run.result == 5
