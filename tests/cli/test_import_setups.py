"""What an app has set up with APScheduler 3: its stores, zones, executors and calls are carried over, or reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from asyncsched.cli.importing import module_of
from asyncsched.cli.imports.apscheduler import read_apscheduler
from asyncsched.cli.imports.found import Imported, written
from tests.cli.terminal import piped

HEAD = """
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo
import os
import pytz
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from settings import DATABASE, ZONE

BERLIN = ZoneInfo("Europe/Berlin")
FILE = "jobs.sqlite"

def work(*args): ...
"""


def _read(code: str, zone: str = "UTC") -> Imported:
    return read_apscheduler(HEAD + code, "app", zone)


def _code(found: Imported, store: str | None = None) -> str:
    """Return the code that is written, which is Python."""
    code = written(found, "a test", store)
    compile(code, "imported.py", "exec")
    return code


# ── stores ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "made, store",
    [
        ('AsyncIOScheduler(jobstores={"default": SQLAlchemyJobStore(url="sqlite:///jobs.sqlite")})',
         "sqlite:///jobs-asyncsched.sqlite"),
        ('AsyncIOScheduler(jobstores={"default": SQLAlchemyJobStore(f"sqlite:////var/{FILE}")})',
         "sqlite:////var/jobs-asyncsched.sqlite"),
        ('AsyncIOScheduler()\nsched.add_jobstore("sqlalchemy", url="sqlite:///" + FILE)', "sqlite:///jobs-asyncsched.sqlite"),
        ('AsyncIOScheduler({"apscheduler.jobstores.default": {"type": "sqlalchemy", "url": "sqlite:///db/jobs.db"}})',
         "sqlite:///db/jobs-asyncsched.db"),
        ('AsyncIOScheduler(jobstores=dict(default=SQLAlchemyJobStore("postgresql+psycopg2://ann@db/shop?sslmode=require")))',
         "postgresql://ann@db/shop?sslmode=require"),
    ],
)  # fmt: skip
def test_a_sqlalchemy_job_store_becomes_the_store(made: str, store: str) -> None:
    found = _read(f"sched = {made}\nsched.add_job(work, 'interval', minutes=5)")
    assert f"Scheduler({store!r})" in _code(found)
    assert any("APScheduler's jobs stay in" in note for note in found.notes_on_store())
    assert "Scheduler('sqlite:///mine.db')" in _code(found, "sqlite:///mine.db")


@pytest.mark.parametrize(
    "made, told",
    [
        ('jobstores={"default": SQLAlchemyJobStore(url=os.environ["DB"])}', "os.environ['DB']"),
        ('jobstores={"default": SQLAlchemyJobStore(url=DATABASE)}', "DATABASE"),
        ('jobstores={"default": SQLAlchemyJobStore(engine=engine)}', "its engine"),
        ('jobstores={"default": SQLAlchemyJobStore("mysql://db/shop")}', "(mysql)"),
        ('jobstores={"default": RedisJobStore(host="cache")}', "is in Redis, which is no store here"),
        ('jobstores={"default": {"type": "mongodb"}}', "is in MongoDB, which is no store here"),
        ("jobstores=stores_of(DATABASE)", "jobstores=stores_of(DATABASE) could not be read; give --store"),
    ],
)
def test_a_job_store_that_cannot_be_taken_over_is_told(made: str, told: str) -> None:
    found = _read(f"sched = AsyncIOScheduler({made})\nsched.add_job(work, 'interval', minutes=5)")
    assert "scheduler = Scheduler()" in _code(found)
    notes = [*found.notes, *found.notes_on_store()]
    assert [note for note in notes if told in note] != []


def test_a_store_in_memory_needs_no_word() -> None:
    found = _read('sched = AsyncIOScheduler(jobstores={"default": MemoryJobStore()})')
    assert found.notes_on_store() == []


def test_the_store_is_in_the_report_and_not_with_a_store_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(
        f'{HEAD}\nsched = AsyncIOScheduler(jobstores={{"default": RedisJobStore()}})\n'
        "sched.add_job(work, 'interval', minutes=5)\n"
    )
    answer = piped("import", "apscheduler", "old.py", cwd=tmp_path)
    assert "is in Redis" in answer.err and "in memory" in answer.err
    given = piped("import", "apscheduler", "old.py", "--store", "sqlite:///jobs.db", cwd=tmp_path)
    assert "Redis" not in given.err and "sqlite:///jobs.db" in given.out
    assert "the code imports work from old, where APScheduler's scheduler is" in given.err


# ── zones and other settings ─────────────────────────────────────────────────────────────────


def test_the_configuration_of_flask_apscheduler_is_read() -> None:
    found = _read(
        """
class Config:
    JOBS = [
        {"id": "nightly", "func": "shop.jobs:nightly", "args": (1, 2), "trigger": "cron", "hour": 3},
        {"id": "often", "func": work, "trigger": {"type": "interval", "seconds": 10}},
    ]
    SCHEDULER_JOBSTORES = {"default": SQLAlchemyJobStore(url="sqlite:///flask.db")}
    SCHEDULER_JOB_DEFAULTS = {"coalesce": False, "max_instances": 3}

app.config["SCHEDULER_TIMEZONE"] = "Europe/Berlin"
"""
    )
    assert {one.call: one.trigger for one in found.schedules} == {
        "shop.jobs:nightly": 'Cron("0 3 * * *", timezone="Europe/Berlin")',
        "app:work": "Interval(seconds=10)",
    }
    assert found.schedules[0].options["max_running"] == 'Limit(3, full="skip")'
    assert "args=(1, 2)" in _code(found) and found.store == "sqlite:///flask-asyncsched.db"


@pytest.mark.parametrize(
    "made",
    [
        'CFG = {"apscheduler.timezone": "Europe/Berlin"}\nsched = AsyncIOScheduler(CFG)',
        'CFG = {"timezone": BERLIN}\nsched = AsyncIOScheduler(**CFG)',
        "CFG = dict(timezone=BERLIN)\nsched = AsyncIOScheduler(**CFG)",
        "sched = AsyncIOScheduler()\nsched.configure(timezone=BERLIN)",
        'sched = AsyncIOScheduler()\nsched.configure({"my.timezone": "Europe/Berlin"}, prefix="my.")',
        'from apscheduler.schedulers.asyncio import AsyncIOScheduler as S\nsched = S(timezone=pytz.timezone("Europe/Berlin"))',
    ],
)
def test_the_zone_of_a_configuration_is_read(made: str) -> None:
    (one,) = _read(f"{made}\nsched.add_job(work, 'cron', hour=7)").schedules
    assert one.trigger == 'Cron("0 7 * * *", timezone="Europe/Berlin")'


@pytest.mark.parametrize(
    "made, told",
    [
        ("AsyncIOScheduler(load())", "the arguments of AsyncIOScheduler could not be read (load() in line 13); give --tz"),
        ("AsyncIOScheduler(**load())", "the arguments of AsyncIOScheduler could not be read (load() in line 13); give --tz"),
        ("AsyncIOScheduler()\nsched.configure(load())", "the arguments of configure could not be read"),
        ("AsyncIOScheduler(timezone=ZONE)", "timezone=ZONE could not be read; give --tz"),
        ("AsyncIOScheduler(job_defaults=load())", "job_defaults=load() could not be read, and is left out"),
        ("AsyncIOScheduler(executors=load())", "executors=load() could not be read"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_read_are_told(made: str, told: str) -> None:
    notes = _read(f"sched = {made}\nsched.add_job(work, 'cron', hour=7)").notes
    assert [note for note in notes if note.startswith(told)] != []


def test_a_name_with_two_values_is_none_that_is_read() -> None:
    code = 'TZ = "Europe/Berlin"\nif debug:\n    TZ = "UTC"\nsched = AsyncIOScheduler(timezone=TZ)'
    assert "timezone=TZ could not be read; give --tz" in _read(code).notes
    argument = "TZ = 'UTC'\ndef start(TZ):\n    sched = AsyncIOScheduler(timezone=TZ)"
    assert "timezone=TZ could not be read; give --tz" in _read(argument).notes


def test_a_configurations_defaults_are_texts() -> None:
    found = _read(
        'sched = AsyncIOScheduler({"apscheduler.job_defaults.coalesce": "false", '
        '"apscheduler.job_defaults.max_instances": "3", "apscheduler.job_defaults.misfire_grace_time": "60"})\n'
        "sched.add_job(work, 'cron', hour=7)"
    )
    (one,) = found.schedules
    assert one.options["misfire"] == 'Misfire(catch_up="all", grace=60)'
    assert one.options["max_running"] == 'Limit(3, full="skip")'


def test_executors_are_carried_over_by_their_kind() -> None:
    found = _read(
        'POOLS = {"default": ThreadPoolExecutor(20), "cpu": ProcessPoolExecutor(max_workers=4), "aio": AsyncIOExecutor()}\n'
        "sched = AsyncIOScheduler(executors=POOLS)\n"
        "sched.add_executor(ThreadPoolExecutor(5), 'slow')\n"
        "sched.add_job(work, 'interval', minutes=1, executor='cpu')\n"
        "sched.add_job(work, 'interval', minutes=2, executor='slow')\n"
        "sched.add_job(work, 'interval', minutes=3, executor='threads')\n"
        "sched.add_job(work, 'interval', minutes=4, executor='aio')\n"
        "sched.add_job(work, 'interval', minutes=5, executor='other')\n"
    )
    cpu, *others = found.schedules
    assert (cpu.options["executor"], cpu.notes) == ('"process"', [])
    assert [one.notes[0].partition(": ")[2].partition(";")[0] for one in others] == [
        "a plain def runs in a thread here",
        "a plain def runs in a thread here",
        "a coroutine runs on the event loop here",
        "a coroutine runs on the event loop and a plain def in a thread",
    ]
    assert any('Scheduler(executors={"process": ProcessExecutor(4)})' in note for note in found.notes)


# ── triggers ─────────────────────────────────────────────────────────────────────────────────

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=200)

TRIGGERS = {
    "a union": "OrTrigger([CronTrigger(hour=9, timezone=BERLIN), CronTrigger(hour=17, day_of_week='fri', timezone=BERLIN)])",
    "what two have in common": "AndTrigger([CronTrigger(hour='8-18', timezone=BERLIN), "
    "CronTrigger(hour='*/3', minute='0,30', day_of_week='mon-wed', timezone=BERLIN)])",
    "days of two": "AndTrigger([CronTrigger(day='1-20', hour=7, timezone=BERLIN), "
    "CronTrigger(day='10-31', day_of_week='0,4', hour=7, timezone=BERLIN)])",
    "a day and a weekday": "CronTrigger(day=13, day_of_week='fri', hour=4, timezone=BERLIN)",
    "a position and a weekday": "CronTrigger(day='1st mon,2nd tue', day_of_week='tue', hour=4, timezone=BERLIN)",
    "bounds": "CronTrigger(hour=7, start_date='2026-03-05 00:00:00', end_date=datetime(2026, 3, 9, 12), timezone=BERLIN)",
    "a grid": "IntervalTrigger(hours=7, start_date='2026-1-1 05:30:00', end_date='2026-04-02', timezone='Europe/Berlin')",
    "months": "CalendarIntervalTrigger(months=2, hour=23, start_date=date(2026, 1, 31), timezone=BERLIN)",
    "weeks": "CalendarIntervalTrigger(weeks=2, hour=6, minute=15, second=5, start_date='2026-01-06', timezone=BERLIN)",
    "one year": "CronTrigger(year=2026, month='4-5', day=1, timezone=BERLIN)",
    "some years": "CronTrigger(year='2025-2026', hour=23, timezone=BERLIN)",
    "years": "CalendarIntervalTrigger(years=1, start_date='2020-05-05', timezone='UTC')",
}


def _by_apscheduler(trigger: BaseTrigger) -> list[datetime]:
    """Return its due times. An AndTrigger does not get the one before, with which it never returns."""
    found: list[datetime] = []
    last, now = None, START.astimezone(ZoneInfo("Europe/Berlin"))
    while (at := trigger.get_next_fire_time(last, now)) is not None and at < END:
        found.append(at.astimezone(UTC))
        last, now = None if isinstance(trigger, AndTrigger) else at, at + timedelta(microseconds=1)
    return [at for at in found if at >= START]


@pytest.mark.parametrize("kind", TRIGGERS)
def test_a_trigger_object_is_due_as_by_apscheduler(kind: str) -> None:
    code = TRIGGERS[kind]
    found = _read(f"sched = AsyncIOScheduler()\nsched.add_job(work, {code}, id='one')")
    (one,) = found.schedules
    assert one.fault == ""
    names: dict[str, Any] = {}
    exec(_code(found).replace("from app import work", "def work(): ..."), names)
    ours = eval(one.trigger, names)
    made = {
        one.__name__: one
        for one in (AndTrigger, OrTrigger, CronTrigger, IntervalTrigger, CalendarIntervalTrigger)
    }
    exec(HEAD.replace("import pytz", "").replace("from settings import DATABASE, ZONE", ""), names)
    expected = _by_apscheduler(eval(code, {**names, **made}))
    found_here = [at for at in ours.upcoming(6000, START - timedelta(microseconds=1)) if at < END]
    assert expected and found_here == expected


@pytest.mark.parametrize(
    "code, told",
    [
        ("AndTrigger([IntervalTrigger(hours=2), CronTrigger(day_of_week='sat')])", "trigger.only"),
        ("AndTrigger([CronTrigger(hour=1), CronTrigger(hour=2)])", "it is never due: hour='1' and hour='2'"),
        (
            "AndTrigger([CronTrigger(hour=1, timezone='UTC'), CronTrigger(hour=1, timezone=BERLIN)])",
            "in several zones",
        ),
        ("CronTrigger(hour=7, timezone=ZONE)", "timezone=ZONE is computed at run time"),
        ("CronTrigger(hour=7, start_date=begin())", "start_date=begin() is computed at run time"),
        ("OrTrigger(triggers)", "its trigger, OrTrigger(triggers), is computed at run time"),
        ("CalendarIntervalTrigger(months=1)", "it counts from the day of its start"),
        ("'interval', **options", "its arguments, **options, are computed at run time"),
        ("MyTrigger()", "a trigger of your own is an object with next(after)"),
    ],
)
def test_a_trigger_that_has_no_match_is_told(code: str, told: str) -> None:
    (one,) = _read(f"sched = AsyncIOScheduler()\nsched.add_job(work, {code})").schedules
    assert told in one.fault


# ── one-offs, and jobs that are added while the program runs ─────────────────────────────────


@pytest.mark.parametrize(
    "date, at",
    [
        ("datetime(2026, 12, 24, 18, tzinfo=BERLIN)", "2026-12-24T18:00:00+01:00"),
        ("datetime(2026, 12, 24, 18, tzinfo=timezone.utc)", "2026-12-24T18:00:00+00:00"),
        ("datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=2)))", "2026-12-24T18:00:00+02:00"),
        ("datetime(2026, 12, 24)", "2026-12-24T00:00:00+01:00"),
        ("date(2026, 12, 24)", "2026-12-24T00:00:00+01:00"),
        ("datetime.fromisoformat('2026-12-24T18:00')", "2026-12-24T18:00:00+01:00"),
        ("pytz.timezone('US/Eastern').localize(datetime(2026, 12, 24, 18))", "2026-12-24T18:00:00-05:00"),
        ("'2026-12-24 18:00:00'", "2026-12-24T18:00:00+01:00"),
    ],
)
def test_a_known_moment_is_a_schedule_of_its_own(date: str, at: str) -> None:
    found = _read(
        f"sched = AsyncIOScheduler(timezone=BERLIN)\nsched.add_job(work, 'date', run_date={date}, args=[1], id='x')"
    )
    (one,) = found.schedules
    assert one.trigger == f"At(datetime.fromisoformat('{at}'))"
    assert (one.options["id"], one.options["args"]) == ("'x'", "(1,)")
    _code(found)


@pytest.mark.parametrize(
    "job, told",
    [
        ("work", "at once: write await scheduler.schedule_once(work)"),
        ('work, "date", run_date=when, args=[user, text], id=f"r-{user}", replace_existing=True',
         "await scheduler.schedule_once(work, user, text, at=when, key=f'r-{user}', replace=True); at= takes an aware datetime"),
        ('work, "date", run_date=datetime.now() + timedelta(minutes=user), kwargs={"to": user}',
         "await scheduler.schedule_once(work, kwargs={'to': user}, delay=timedelta(minutes=user))"),
        ('work, "date", run_date="2026-12-24 18:00:00", args=(user,), id=user',
         "await scheduler.schedule_once(work, user, at=datetime.fromisoformat('2026-12-24T18:00:00+01:00'), key=user)"),
        ("work, next_run_time=datetime.now(BERLIN) + timedelta(seconds=30)",
         "await scheduler.schedule_once(work, delay=timedelta(seconds=30))"),
        ('work, "interval", [user], minutes=5, id=f"p-{user}", replace_existing=True',
         "await scheduler.add_schedule(work, Interval(minutes=5), args=(user,), id=f'p-{user}', replace=True)"),
        ('work, "interval", minutes=user.minutes, id="mine"',
         "await scheduler.add_schedule(work, Interval(minutes=user.minutes), id='mine')"),
        ('work, "cron", hour=user.hour, minute="*/5"',
         "hour=user.hour is computed at run time: write await scheduler.add_schedule(work, Cron(f\"*/5 {user.hour} * * *\""),
        ('work, "cron", hour=7, id=str(user.id)',
         "await scheduler.add_schedule(work, Cron(\"0 7 * * *\", timezone=\"Europe/Berlin\"), id=str(user.id))"),
    ],
)  # fmt: skip
def test_a_job_that_is_added_while_the_program_runs_is_told_as_the_whole_call(job: str, told: str) -> None:
    found = _read(
        f"sched = AsyncIOScheduler(timezone=BERLIN)\ndef remind(user, when, text):\n    sched.add_job({job})"
    )
    (one,) = found.schedules
    assert told in one.fault
    assert any("declared with @scheduler.job() where a database is used" in note for note in found.notes)
    _code(found)


def test_what_arguments_name_is_imported(tmp_path: Path) -> None:
    found = _read(
        "import decimal as d\nCLIENT = connect()\nsched = AsyncIOScheduler()\n"
        "sched.add_job(work, 'interval', minutes=5, args=[CLIENT, d.Decimal('1'), FILE], kwargs={'by': timedelta(1)})"
    )
    code = _code(found)
    assert "from app import CLIENT, work" in code
    assert "import decimal as d\n" in code
    assert "from datetime import timedelta" in code
    assert "args=(CLIENT, d.Decimal('1'), 'jobs.sqlite')" in code
    assert "the code imports work, CLIENT from app" in " ".join(found.notes)


def test_a_period_of_a_module_is_read_from_there() -> None:
    found = _read(
        "import time\nsched = AsyncIOScheduler()\n"
        "sched.add_job(work, 'interval', seconds=int(os.getenv('EVERY', 5)), args=[time.time()], id='x')\n"
        "sched.add_job(work, 'interval', minutes=ZONE.minutes, id='y')\nsched.add_job(work, 'cron', hour=1)\n"
        "sched.add_job(work, 'cron', hour=2)"
    )
    code = _code(found)
    assert "scheduler.job(Interval(seconds=int(os.getenv('EVERY', 5)))" in code
    assert "import os\nimport time\n" in code and "from settings import ZONE\n" in code
    assert "from datetime" not in code
    assert [name in code for name in ("name='y'", "name='work'", "name='work_2'")] == [True, False, True]


def test_fields_of_a_module_are_read_from_there() -> None:
    found = _read(
        "sched = AsyncIOScheduler()\nsched.add_job(work, 'cron', hour=ZONE.hour, second=int(os.environ['S']))\n"
        "sched.add_job(work, 'cron', day_of_week=ZONE.day)\nsched.add_job(work, OrTrigger([CronTrigger(hour=ZONE.hour)]))"
    )
    assert (
        found.schedules[0].trigger == 'Cron(f"{int(os.environ[\'S\'])} * {ZONE.hour} * * *", timezone="UTC")'
    )
    assert "day_of_week=ZONE.day is computed at run time" in found.schedules[1].fault
    assert found.schedules[2].needs == {"settings:ZONE"}
    assert "import os\n" in _code(found) and "from settings import ZONE" in _code(found)


def test_functions_of_one_name_in_two_modules_are_told_apart(tmp_path: Path) -> None:
    for module in ("rates", "news"):
        (tmp_path / f"{module}.py").write_text("def refresh(): ...\ndef check(): ...\n")
    (tmp_path / "old.py").write_text(
        "import news\nfrom rates import refresh, check\nfrom functools import partial\n"
        "from apscheduler.schedulers.asyncio import AsyncIOScheduler\nsched = AsyncIOScheduler()\n"
        "sched.add_job(refresh, 'interval', minutes=1)\n"
        "sched.add_job(news.refresh, 'interval', minutes=2)\n"
        "sched.add_job(refresh, 'interval', minutes=3, id='check')\n"
        "sched.add_job(check, 'interval', minutes=4)\n"
    )
    answer = piped("import", "apscheduler", "old.py", "-o", "new.py", cwd=tmp_path)
    assert answer.code == 0
    listed = piped("schedules", "--app", "new:scheduler", "--json", cwd=tmp_path)
    assert listed.code == 0, listed.err
    assert len({one["job"] for one in listed.json}) == 4


def test_partial_has_its_arguments_in_the_job() -> None:
    found = _read(
        "from functools import partial\nsched = AsyncIOScheduler()\n"
        "sched.add_job(partial(work, 1, x=2), 'interval', minutes=5, args=[3], kwargs={'y': 4})"
    )
    (one,) = found.schedules
    assert one.call == "app:work"
    assert (one.options["args"], one.options["kwargs"]) == ("(1, 3)", "{'x': 2, 'y': 4}")


# ── calls ────────────────────────────────────────────────────────────────────────────────────

CALLS = """
sched = AsyncIOScheduler(timezone=BERLIN)
sched.add_job(work, "interval", minutes=5, id="tick")
def change(user, when):
    job = sched.add_job(work, "date", run_date=when, id=f"r-{user}")
    sched.add_job(work, "interval", minutes=5, id=user)
    print(job.next_run_time)
    job.remove()
    sched.remove_job(f"r-{user}")
    sched.remove_job(user)
    sched.remove_job("tick")
    sched.remove_job(other)
    sched.pause_job("tick")
    sched.resume_job("tick")
    sched.reschedule_job("tick", trigger="cron", hour=6)
    sched.modify_job("tick", max_instances=3)
    sched.modify_job("tick", next_run_time=datetime.now())
    try:
        print(sched.state)
    except (JobLookupError, base.ConflictingIdError):
        pass
    sched.get_jobs()
    sched.remove_all_jobs()
    sched.pause()
    player.pause()
    if sched.running:
        sched.shutdown()
    sched.add_listener(on_error, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    sched.add_listener(on_all)
    sched.add_listener(print, events.EVENT_ALL)
"""


def test_each_call_that_changes_jobs_is_reported_with_what_to_write() -> None:
    found = _read(CALLS)
    told = [(one.source.removeprefix("sched."), one.told) for one in found.calls]
    expected = [
        ("job.next_run_time", "write (await scheduler.schedule(id)).next_due"),
        ("job.remove()", "await scheduler.cancel_many(key=…)"),
        ('remove_job(f"r-{user}")', "write await scheduler.cancel_many(key=f'r-{user}'), which returns how many waited"),
        ("remove_job(user)", "write await scheduler.remove(id) for a schedule"),
        ('remove_job("tick")', "the code declares it: take it out there, or write await scheduler.pause('tick')"),
        ("remove_job(other)", "write await scheduler.remove(id) for a schedule"),
        ('pause_job("tick")', "write await scheduler.pause('tick')"),
        ('resume_job("tick")', "write await scheduler.resume('tick')"),
        ('reschedule_job("tick", trigger="cron", hour=6)',
         "write await scheduler.reschedule('tick', Cron(\"0 6 * * *\", timezone=\"Europe/Berlin\"))"),
        ('modify_job("tick", max_instances=3)', "await scheduler.reschedule(id, trigger)"),
        ('modify_job("tick", next_run_time=datetime.now())', "write await scheduler.run_now('tick') for a run at once"),
        ("state", "write scheduler.ready()"),
        ("JobLookupError", "catch UnknownSchedule"),
        ("base.ConflictingIdError", "catch ScheduleExists"),
        ("get_jobs()", "write await scheduler.schedules()"),
        ("remove_all_jobs()", "for each of await scheduler.schedules()"),
        ("pause()", "await scheduler.pause_many(tag=…)"),
        ("running", "write scheduler.ready()"),
        ("add_listener(on_error, EVENT_JOB_ERROR | EVENT_JOB_MISSED)", "for EVENT_JOB_ERROR, write @scheduler.on_failure on on_error"),
        ("add_listener(on_all)", "on_all hears of every event there"),
        ("add_listener(print, events.EVENT_ALL)", "print hears of every event there"),
    ]  # fmt: skip
    assert [source for source, _ in told] == [source for source, _ in expected]
    assert [said for (_, said), (_, part) in zip(told, expected, strict=True) if part not in said] == []


def test_calls_are_in_the_report_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(HEAD + CALLS)
    answer = piped("import", "apscheduler", "old.py", cwd=tmp_path)
    line = (HEAD + CALLS).splitlines().index("    sched.pause()") + 1
    assert f"! line {line}: sched.pause()\n" in answer.err
    listed = piped("import", "apscheduler", "old.py", "--json", cwd=tmp_path).json
    assert {"line": line, "source": "sched.pause()"}.items() <= listed["calls"][-5].items()


# ── modules ──────────────────────────────────────────────────────────────────────────────────


def test_functions_are_imported_from_the_modules_of_packages(tmp_path: Path) -> None:
    (tmp_path / "shop" / "tasks").mkdir(parents=True)
    for folder in ("shop", "shop/tasks"):
        (tmp_path / folder / "__init__.py").touch()
    assert module_of(str(tmp_path / "shop" / "tasks" / "nightly.py")) == "shop.tasks.nightly"
    assert module_of(str(tmp_path / "shop" / "__init__.py")) == "shop"
    assert module_of(str(tmp_path / "single.py")) == "single"
    assert module_of("-") == "app"


def test_apscheduler_takes_the_names_as_they_are_tested() -> None:
    """The set-ups above are those of APScheduler itself."""
    scheduler = BackgroundScheduler(
        {"apscheduler.timezone": "Europe/Berlin", "apscheduler.job_defaults.coalesce": "false"}
    )
    assert str(scheduler.timezone) == "Europe/Berlin"
    assert scheduler._job_defaults["coalesce"] is False
