"""The way in from other schedulers: a month of due times is the same by the original library and by the code that is made."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim

import asyncsched
from asyncsched.cli.imports.apscheduler import read_apscheduler
from asyncsched.cli.imports.celery import read_celery
from asyncsched.cli.imports.crontab import read_crontab
from asyncsched.cli.imports.found import Found, Imported, written
from asyncsched.cli.imports.jobstore import read_job_store
from asyncsched.cli.imports.repeat_every import read_repeat_every
from asyncsched.cli.slots import slots_between
from asyncsched.triggers import Every
from tests.cli.terminal import piped

BERLIN = "Europe/Berlin"
PUBLIC = {name: getattr(asyncsched, name) for name in asyncsched.__all__}
START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=31)  # the clocks go forward on the 29th


def _due(trigger: str) -> list[datetime]:
    """Return the due times of a trigger's code in March 2026."""
    names = {**PUBLIC, "datetime": datetime, "date": date, "time": time, "Every": Every}
    found = eval(trigger, names)
    return [
        at for at, _ in slots_between(found, START - timedelta(seconds=1), END - timedelta(seconds=1), 50_000)
    ]


def _executed(found: Imported, tmp_path: Path) -> dict[str, Any]:
    """Return the names of the code that is written, executed."""
    code = written(found, "a test", None)
    names: dict[str, Any] = {"__name__": "imported"}
    exec(compile(code, str(tmp_path / "imported.py"), "exec"), names)
    return names


# ── crontabs ─────────────────────────────────────────────────────────────────────────────────

CRONTABS = {
    "a web application's": """
        MAILTO=ops@example.com
        PATH=/usr/local/bin:/usr/bin:/bin
        */5 * * * * cd /srv/app/current && bin/rails runner 'Queue.drain' >> log/cron.log 2>&1
        0 4 * * * cd /srv/app/current && bundle exec rake -s sitemap:refresh
        15 3 * * 0 /usr/bin/certbot renew --quiet
    """,
    "of backups": """
        30 1 * * 1-6 /root/bin/backup.sh incremental
        30 1 * * 7 /root/bin/backup.sh full
        0 5 1 * * find /var/backups -name '*.gz' -mtime +60 -delete
    """,
    "Debian's /etc/crontab": """
        SHELL=/bin/sh
        17 * * * * root cd / && run-parts --report /etc/cron.hourly
        25 6 * * * root test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily
        47 6 * * 7 root test -x /usr/sbin/anacron || run-parts --report /etc/cron.weekly
        52 6 1 * * root test -x /usr/sbin/anacron || run-parts --report /etc/cron.monthly
    """,
    "with names and steps": """
        0 9-17/2 * * mon-fri /opt/poll
        10,40 */3 * jan-jun tue,thu /opt/report --half
        5 0 */2 * * /opt/every-other-day
    """,
    "with both day and weekday": """
        0 12 1,15 * 5 /opt/payday
        0 12 13 * fri /opt/unlucky
    """,
    "with macros": """
        @hourly /opt/h
        @daily /opt/d
        @midnight /opt/m
        @weekly /opt/w
        @monthly /opt/mo
    """,
    "of a monitor": """
        * * * * * /usr/lib/monitor/collect
        */10 * * * * /usr/lib/sysstat/debian-sa1 1 1
        59 23 * * * /usr/lib/sysstat/debian-sa1 60 2
    """,
    "Anacron's, with tabs and leading zeros": """
        30 7\t* * *\ttest -x /etc/init.d/anacron
        00 */3    15-25/2 Mar 1-5   /opt/somecommand
        00 */3    15-25/2 mar mon-tue   /opt/somecommand
    """,
    "with locks, and weekends": """
        30 */1  *  *  * flock $HOME/.pool.lock $HOME/pool/transfer.sh || echo "still running"
        30 3 * * 6,0 /opt/weekend
        0,30 20-22 * * * /opt/evening
        * * * * * php /var/www/artisan schedule:run >> /dev/null 2>&1
    """,
    "of a market": """
        50 6 * * 1-5  /opt/trader/run.py --healthcheck >> /opt/trader/health.log 2>&1
        0 18 * * 0    /opt/trader/screener.py
        40 3 3,15,23 * *    /opt/trader/audit
    """,
    "at the change of the clocks": """
        30 2 * * * /opt/in-the-gap
        0 2 29 3 * /opt/once
        */20 1-3 * * * /opt/often
    """,
}


def _expression(one: Found) -> str:
    words = one.source.split()
    macro = {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
    }
    return macro.get(words[0]) or " ".join(words[:5])


@pytest.mark.parametrize("kind", CRONTABS)
def test_a_crontab_is_due_as_debians_cron_would_have_it(kind: str, tmp_path: Path) -> None:
    found = read_crontab("\n".join(line.strip() for line in CRONTABS[kind].splitlines()), zone=BERLIN)
    assert found.schedules and not [one.fault for one in found.schedules if one.fault]
    for one in found.schedules:
        wanted = CronSim(_expression(one), START.astimezone(ZoneInfo(BERLIN)) - timedelta(seconds=1))
        expected = [at.astimezone(UTC) for at in itertools.takewhile(lambda at: at < END, wanted)]
        assert _due(one.trigger) == expected, one.source
    scheduler = _executed(found, tmp_path)["scheduler"]
    assert f"{len(found.schedules)} jobs" in repr(scheduler)


def test_the_commands_of_a_crontab_are_run_with_its_variables(tmp_path: Path) -> None:
    text = f"SHELL=/bin/bash\nGREETING='hello there'\n0 0 * * * cat > {tmp_path}/out; echo \"$GREETING\" 5\\% >> {tmp_path}/out%line one%line two\n"
    found = read_crontab(text, zone="UTC")
    (one,) = found.schedules
    _executed(found, tmp_path)[one.name]()
    assert (tmp_path / "out").read_text() == "line one\nline two" + "hello there 5%\n"


def test_what_a_crontab_means_beyond_its_times_is_reported() -> None:
    text = "CRON_TZ=Asia/Tokyo\nMAILTO=me@example.com\n@reboot /opt/warm\n0 0 * * * www-data /opt/x y z\n0~30 1 * * * /opt/random\n61 * * * * /opt/wrong\n"
    found = read_crontab(text, zone="UTC", system=False)
    notes = " ".join([*found.notes, *(note for one in found.schedules for note in one.notes)])
    for word in ("CRON_TZ", "mails", "@reboot", "overlap", "down"):
        assert word in notes
    assert 'timezone="Asia/Tokyo"' in found.schedules[1].trigger
    assert [bool(one.fault) for one in found.schedules] == [False, False, True, True]
    system = read_crontab("0 0 * * * www-data /opt/x\n", zone="UTC", system=True)
    assert "user 'www-data'" in system.schedules[0].notes[0]


# ── APScheduler 3 ────────────────────────────────────────────────────────────────────────────

APSCHEDULER = """
from datetime import datetime
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

sched = BackgroundScheduler(timezone="Europe/Berlin", job_defaults={"coalesce": False, "max_instances": 3})
nightly = CronTrigger(hour=3, minute=15)


@sched.scheduled_job("cron", day_of_week="mon-fri", hour="9-17", minute="*/20", id="office")
@sched.scheduled_job("cron", day_of_week="0", hour=8, id="monday")
def work(): ...


@sched.scheduled_job(CronTrigger(day="last", hour=23), id="month-end")
async def close(): ...


def other(x, y=1): ...


sched.add_job(other, "interval", minutes=7, seconds=30, id="every", args=[1], kwargs={"y": 2}, jitter=5)
sched.add_job(other, nightly, id="nightly", args=(1,), misfire_grace_time=300, max_instances=1, coalesce=True)
sched.add_job("reports:weekly", trigger="cron", day_of_week="sun,2", hour="6", second="30", id="by-name")
sched.add_job(other, CronTrigger.from_crontab("5 4 * * 1-3"), id="from-crontab", args=(1,))
sched.add_job(other, "cron", day="2nd fri", hour=10, id="second-friday", args=(1,))
sched.add_job(other, "cron", day="1-7", day_of_week="tue", hour=10, id="first-tuesday", args=(1,))
sched.add_job(other, "cron", month="1-3", day="*/10", id="steps", args=(1,))
sched.add_job(other, "date", run_date="2026-03-05 10:00:00", id="once", args=(1,))
sched.add_job(other, "cron", day="15", day_of_week="wed", id="both", args=(1,))
sched.add_job(other, "cron", week="10", id="week", args=(1,))
sched.add_job(lambda: None, "interval", seconds=5, id="lambda")
sched.add_job(other, "interval", seconds=computed(), id="computed", args=(1,))
"""


@pytest.fixture
def original() -> Any:
    """The scheduler that the file above makes, by APScheduler itself."""
    names: dict[str, Any] = {"__name__": "original", "computed": lambda: 5}
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    exec(APSCHEDULER.replace('"reports:weekly"', "work"), names)
    return names["sched"]


def _fired(trigger: Any) -> list[datetime]:
    found: list[datetime] = []
    last, now = None, START.astimezone(ZoneInfo(BERLIN))
    while (at := trigger.get_next_fire_time(last, now)) is not None and at < END:
        found.append(at.astimezone(UTC))
        last, now = at, at + timedelta(microseconds=1)
    return found


def test_apschedulers_jobs_are_due_as_by_apscheduler(original: BackgroundScheduler) -> None:
    found = read_apscheduler(APSCHEDULER, "app", "UTC")
    by_id = {one.options.get("id", "").strip("'"): one for one in found.schedules}
    compared = [
        "office",
        "monday",
        "month-end",
        "nightly",
        "by-name",
        "from-crontab",
        "second-friday",
        "first-tuesday",
        "steps",
        "once",
        "both",
    ]
    for job in original.get_jobs():
        if job.id in compared:
            assert _due(by_id[job.id].trigger) == _fired(job.trigger), job.id
    assert set(compared) <= set(by_id)
    faults = {
        one.source.partition("id=")[2].strip("\"')").partition('"')[0]: one.fault
        for one in found.schedules
        if one.fault
    }
    assert set(faults) == {"week", "lambda", "computed"}
    assert ".only(weekday='wed')" in by_id["both"].trigger


def test_apschedulers_options_are_carried_over_or_reported() -> None:
    found = read_apscheduler(APSCHEDULER, "app", "UTC")
    by_id = {one.options.get("id", "").strip("'"): one for one in found.schedules}
    every = by_id["every"]
    assert every.trigger == "Interval(minutes=7, seconds=30)"
    assert (every.options["args"], every.options["kwargs"], every.options["jitter"]) == (
        "(1,)",
        "{'y': 2}",
        "5",
    )
    assert (every.options["overlap"], every.options["max_running"]) == (
        '"allow"',
        'Limit(3, full="skip")',
    )
    assert every.options["misfire"] == 'Misfire(catch_up="all", grace=1)'
    assert by_id["nightly"].options["misfire"] == 'Misfire(catch_up="latest", grace=300)'
    assert "overlap" not in by_id["nightly"].options
    assert by_id["by-name"].call == "reports:weekly"
    assert any("1 s late" in note for note in found.notes)
    assert any("jitter" in note for note in every.notes)


SETUPS = {
    "a FastAPI app's lifespan": (
        """
import forecasts
from apscheduler.schedulers.asyncio import AsyncIOScheduler

scheduler = AsyncIOScheduler()

async def lifespan(app):
    scheduler.add_job(forecasts.refresh_all, "interval", hours=6)
    scheduler.add_job(forecasts.refresh_all, "date")
    scheduler.start()
    yield
    scheduler.shutdown()
""",
        {"forecasts:refresh_all": "Interval(hours=6)"},
        ["it runs once, at once"],
    ),
    "a scraper with pytz": (
        """
import pytz
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

def scrape(): ...

def start():
    scheduler = BackgroundScheduler(timezone=pytz.timezone("US/Eastern"))
    scheduler.add_job(scrape, trigger=CronTrigger(hour=7, minute=0, timezone="US/Eastern"), id="morning",
                      replace_existing=True, max_instances=1, misfire_grace_time=600)
""",
        {"app:scrape": 'Cron("0 7 * * *", timezone="US/Eastern")'},
        [],
    ),
    "a class with methods": (
        """
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

class Jobs:
    def __init__(self, settings):
        self.scheduler = BackgroundScheduler(timezone="Asia/Seoul")
        self.scheduler.add_job(self.refresh, "interval", minutes=30, id="refresh")
        self.scheduler.add_job(poll, IntervalTrigger(seconds=settings.poll_seconds, jitter=10), id="poll")

    def add(self, trigger):
        self.scheduler.add_job(poll, trigger, max_instances=1)

    def refresh(self): ...

def poll(): ...
""",
        {},
        ["cannot be imported", "seconds=settings.poll_seconds", "its trigger, trigger, is computed"],
    ),
    "Flask": (
        """
from flask_apscheduler import APScheduler

schedule = APScheduler()

@schedule.task("interval", id="expiring", minutes=15, misfire_grace_time=900)
def check_expiring(): ...
""",
        {"app:check_expiring": "Interval(minutes=15)"},
        [],
    ),
    "a worker that begins at once": (
        """
from datetime import datetime, timezone
from apscheduler.schedulers.blocking import BlockingScheduler

MINUTES = 12

def scan(): ...
def recon(): ...
def report(): ...

scheduler = BlockingScheduler(timezone=timezone.utc)
scheduler.add_job(scan, "interval", seconds=30, next_run_time=datetime.now(), misfire_grace_time=60)
scheduler.add_job(func=recon, trigger="interval", minutes=MINUTES, id="recon", daemon=True)
scheduler.add_job(report, "cron", day_of_week="mon-sun", hour="19", minute="05", timezone="Europe/Moscow")
for job in JOBS:
    scheduler.add_job(scan, "cron", hour=job["hour"], id=job["id"])
""",
        {
            "app:scan": "Interval(seconds=30, immediate=True)",
            "app:recon": "Interval(minutes=12)",
            "app:report": 'Cron("05 19 * * mon-sun", timezone="Europe/Moscow")',
        },
        ["hour=job['hour'] is computed"],
    ),
    "functions within functions": (
        """
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from tasks import sync as sync_all

def start(loop):
    scheduler = AsyncIOScheduler()

    def run_in_loop():
        loop.create_task(sync_all())

    scheduler.add_job(run_in_loop, trigger="cron", hour=23, minute=30)
    scheduler.add_job(sync_all, "cron", hour="*/4")
""",
        {"tasks:sync": 'Cron("0 */4 * * *", timezone="UTC")'},
        ["cannot be imported"],
    ),
}
"""Kinds of set-ups as public repositories have them, made anew: what is carried over, and what is reported."""


@pytest.mark.parametrize("kind", SETUPS)
def test_a_set_up_of_apscheduler_is_carried_over_or_reported(kind: str) -> None:
    text, carried, reported = SETUPS[kind]
    found = read_apscheduler(text, "app", "UTC")
    assert {one.call: one.trigger for one in found.schedules if one.trigger} == carried
    faults = [one.fault for one in found.schedules if one.fault]
    assert len(faults) == len(reported)
    assert [part for part in reported if not any(part in fault for fault in faults)] == []


STARTS = {
    "a FastAPI app's lifespan": "next(lifespan(None).__aiter__().__anext__().__await__())",
    "a scraper with pytz": "start()",
    "a class with methods": "Jobs(SimpleNamespace(poll_seconds=5)).add(IntervalTrigger(hours=1))",
    "a worker that begins at once": "",
    "functions within functions": "start(None)",
}
"""What each set-up's program does to add its jobs, once it is imported."""


@pytest.mark.parametrize("kind", STARTS)
def test_a_set_up_is_due_as_by_apscheduler_itself(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    added: dict[str, list[Any]] = {}

    def add_job(self: Any, func: Any, trigger: Any = None, *args: Any, **options: Any) -> None:
        made = self._create_trigger(
            trigger, {name: value for name, value in options.items() if name in ("hour", "minute", "hours", "minutes",
             "seconds", "day_of_week", "timezone", "jitter")}
        )  # fmt: skip
        added.setdefault(func.__name__, []).append(made)

    monkeypatch.setattr(BaseScheduler, "add_job", add_job)
    for scheduler in (BaseScheduler, AsyncIOScheduler):
        monkeypatch.setattr(scheduler, "start", lambda self: None)
        monkeypatch.setattr(scheduler, "shutdown", lambda self: None)
    for name, code in {
        "forecasts": "def refresh_all(): ...", "tasks": "def sync(): ...", "pytz": "from zoneinfo import ZoneInfo as timezone",
    }.items():  # fmt: skip
        module = ModuleType(name)
        exec(code, vars(module))
        monkeypatch.setitem(sys.modules, name, module)
    names: dict[str, Any] = {"__name__": "app", "JOBS": [], "SimpleNamespace": SimpleNamespace}
    text, carried, _ = SETUPS[kind]
    exec(text, names)
    with contextlib.suppress(StopIteration):
        exec(STARTS[kind], names)
    assert added
    for call, trigger in carried.items():
        ours = eval(trigger, {**PUBLIC, "datetime": datetime})
        original = added[call.partition(":")[2]][0]
        if isinstance(original, IntervalTrigger):
            assert ours.period == original.interval
        else:
            assert _due(trigger) == _fired(original)


def test_the_code_made_of_apschedulers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours.py").write_text("def work(): ...\nasync def close(): ...\ndef other(x, y=1): ...\n")
    (tmp_path / "reports.py").write_text("def weekly(): ...\n")
    (tmp_path / "old.py").write_text(APSCHEDULER)
    answer = piped("import", "apscheduler", "old.py", "-o", "new.py", cwd=tmp_path)
    assert answer.code == 1  # three of them cannot be carried over
    assert "imported 12 of 15 schedules into new.py" in answer.err
    code = (tmp_path / "new.py").read_text().replace("from old import", "from ours import")
    (tmp_path / "new.py").write_text(code)
    listed = piped("schedules", "--app", "new:scheduler", "--json", cwd=tmp_path)
    assert listed.code == 0, listed.err
    assert len(listed.json) == 12


def _job(word: str = "x") -> None: ...


def test_a_job_store_is_read_without_executing_its_pickles(tmp_path: Path) -> None:
    store = SQLAlchemyJobStore(f"sqlite:///{tmp_path}/jobs.sqlite")
    scheduler = BackgroundScheduler(timezone=BERLIN, jobstores={"default": store})
    scheduler.start(paused=True)
    jobs = [
        scheduler.add_job(
            _job, "cron", day_of_week="mon-fri", hour=7, minute="*/10", id="weekdays", max_instances=2
        ),
        scheduler.add_job(_job, "cron", day="last,2", hour=1, id="days"),
        scheduler.add_job(_job, "cron", day="3rd mon", hour=4, id="third-monday"),
        scheduler.add_job(_job, "interval", minutes=10, id="every", args=["y"], misfire_grace_time=60),
        scheduler.add_job(_job, "date", run_date=datetime(2099, 1, 1), id="once"),
        scheduler.add_job(
            _job,
            OrTrigger([CronTrigger(hour=9), CronTrigger(hour=17, timezone=BERLIN)]),
            id="either",
        ),
        scheduler.add_job(
            _job,
            CalendarIntervalTrigger(weeks=2, hour=6, start_date="2026-03-03", timezone=BERLIN),
            id="fortnight",
        ),
    ]
    triggers = {job.id: job.trigger for job in jobs}
    scheduler.shutdown()
    store.engine.dispose()  # once more: APScheduler's thread looks for due jobs after it has closed its store
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as connection:
        connection.execute(
            "INSERT INTO apscheduler_jobs VALUES ('evil', 1.0, ?)",
            (b"cos\nsystem\n(S'touch /tmp/never'\ntR.",),
        )
        connection.commit()
    found = read_job_store(f"sqlite:///{tmp_path}/jobs.sqlite")
    assert found.store == f"sqlite:///{tmp_path}/jobs-asyncsched.sqlite"
    by_id = {one.where.removeprefix("job "): one for one in found.schedules}
    for id in ("weekdays", "days", "third-monday", "either", "fortnight"):
        assert by_id[id].fault == ""
        assert _due(by_id[id].trigger) == _fired(triggers[id]), id
    assert by_id["every"].trigger == "Interval(seconds=600)"
    assert by_id["every"].options["args"] == "('y',)"
    begin = triggers["every"].start_date.isoformat()
    assert f"start=datetime.fromisoformat('{begin}')" in by_id["every"].notes[0]
    assert by_id["weekdays"].options["max_running"] == 'Limit(2, full="skip")'
    assert by_id["weekdays"].call == f"{__name__}:_job"
    assert "2099-01-01" in by_id["once"].trigger
    assert "os.system" in by_id["evil"].fault


def test_a_job_store_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"")
    assert piped("import", "apscheduler", "sqlite:///x.db", cwd=tmp_path).code == 5
    assert piped("import", "apscheduler", "sqlite:///none.db", cwd=tmp_path).code == 5


# ── Celery beat ──────────────────────────────────────────────────────────────────────────────

CELERY = """
from celery import Celery
from celery.schedules import crontab, solar, schedule
from datetime import timedelta

app = Celery("shop", broker="redis://")
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "add-every-30": {"task": "shop.tasks.add", "schedule": 30.0, "args": (16, 16)},
    "hourly": {"task": "shop.tasks.sync", "schedule": timedelta(hours=1), "options": {"queue": "slow"}},
    "monday": {"task": "shop.tasks.report", "schedule": crontab(hour=7, minute=30, day_of_week=1)},
    "office": {"task": "shop.tasks.report", "schedule": crontab(minute="*/15", hour="8-17", day_of_week="mon-fri")},
    "odd-days": {"task": "shop.tasks.report", "schedule": crontab(0, 0, day_of_month="1-31/2")},
    "third": {"task": "shop.tasks.report", "schedule": crontab(0, 0, day_of_week="*/3")},
    "first-monday": {"task": "shop.tasks.report", "schedule": crontab(0, 9, day_of_month="1-7", day_of_week="monday")},
    "sunset": {"task": "shop.tasks.lamp", "schedule": solar("sunset", -37.8, 144.9)},
    "both": {"task": "shop.tasks.report", "schedule": crontab(0, 9, day_of_month="13", day_of_week="fri")},
    "every-minute": {"task": "shop.tasks.report", "schedule": crontab()},
}


@app.on_after_configure.connect
def setup(sender, **kwargs):
    sender.add_periodic_task(10.0, hello.s("world"), name="hello")
    sender.add_periodic_task(crontab(hour=3, minute=0), purge.s(days=30))


@app.task
def hello(word): ...


@app.task
def purge(days): ...
"""


def _crontabs() -> dict[str, Any]:
    celery = pytest.importorskip("celery.schedules")
    names: dict[str, Any] = {"crontab": celery.crontab}
    source = (
        CELERY[CELERY.index("{") : CELERY.index("}\n\n\n") + 1]
        .replace("solar(", "tuple((")
        .replace("144.9)", "144.9))")
    )
    return dict(eval(source.replace("timedelta(hours=1)", "3600"), names))


def test_celerys_crontabs_are_due_as_by_celery() -> None:
    """Celery matches a minute against five sets; its own sets are asked here for each minute of the month."""
    found = {one.source.partition(":")[0]: one for one in read_celery(CELERY, "shop.app", None).schedules}
    zone = ZoneInfo(BERLIN)
    minutes = [START + timedelta(minutes=number) for number in range(31 * 1440)]
    for name, entry in _crontabs().items():
        schedule = entry["schedule"]
        if not hasattr(schedule, "day_of_week"):
            continue
        expected = [
            at for at in minutes
            if (there := at.astimezone(zone)).minute in schedule.minute and there.hour in schedule.hour
            and there.day in schedule.day_of_month and there.month in schedule.month_of_year
            and there.isoweekday() % 7 in schedule.day_of_week
        ]  # fmt: skip
        assert _due(found[name].trigger) == expected, name


def test_celerys_tasks_are_carried_over_or_reported() -> None:
    found = read_celery(CELERY, "shop.app", None)
    by_name = {one.source.partition(":")[0]: one for one in found.schedules}
    assert by_name["add-every-30"].trigger == "Interval(seconds=30)"
    assert by_name["add-every-30"].options["args"] == "(16, 16)"
    assert by_name["add-every-30"].call == "shop.tasks:add"
    assert "queue" in by_name["hourly"].notes[0]
    assert "solar" in by_name["sunset"].fault
    assert ".only(weekday='fri')" in by_name["both"].trigger
    assert by_name["hello"].call == "shop.app:hello"
    assert by_name["hello"].options["args"] == "('world',)"
    assert by_name["purge"].options["kwargs"] == "{'days': 30}"
    assert 'timezone="Europe/Berlin"' in by_name["purge"].trigger


# ── repeat_every ─────────────────────────────────────────────────────────────────────────────

REPEATED = """
from fastapi_utils.tasks import repeat_every

HOUR = 60 * 60

@app.on_event("startup")
@repeat_every(seconds=HOUR)
async def remove_expired() -> None: ...

@repeat_every(seconds=30, wait_first=True, raise_exceptions=True)
def poll() -> None: ...

@repeat_every(seconds=settings.period)
def computed() -> None: ...
"""


def test_repeat_every_becomes_an_interval() -> None:
    found = read_repeat_every(REPEATED, "app")
    first, second, third = found.schedules
    assert first.trigger == "Interval(seconds=3600, immediate=True)"
    assert (second.trigger, second.options) == ("Interval(seconds=30)", {"pause_after": "1"})
    assert "settings.period" in third.fault
    assert any(note.startswith("the code imports remove_expired, poll from app: ") for note in found.notes)


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_the_command_writes_code_that_is_listed_and_runs(tmp_path: Path) -> None:
    (tmp_path / "tab").write_text("0 7 * * * echo hello\n*/5 * * * * echo there\n")
    answer = piped("import", "crontab", "tab", "--store", "sqlite:///jobs.db", cwd=tmp_path)
    assert answer.code == 0
    assert "imported 2 of 2 schedules" in answer.err
    assert 'timezone="Europe/Berlin"' in answer.out  # of the host
    (tmp_path / "app.py").write_text(answer.out)
    ran = piped("run", "app:scheduler", "echo_hello", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "hello\n")


def test_mistakes_are_told(tmp_path: Path) -> None:
    assert piped("import", "crontab", "nothing", cwd=tmp_path).code == 3
    (tmp_path / "bad.py").write_text("def f(:\n")
    answer = piped("import", "apscheduler", "bad.py", cwd=tmp_path)
    assert answer.code == 2
    assert "bad.py:1" in answer.err
