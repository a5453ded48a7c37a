"""What APScheduler's scheduler is made with: its zone, its jobs' defaults, its executors and its job stores."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

from asyncsched.cli.imports.flask import configured
from asyncsched.cli.imports.found import Imported
from asyncsched.cli.imports.python import Code, as_code, called, entries, keywords, value_of
from asyncsched.cli.imports.times import zone_of

SCHEDULERS = (
    "BackgroundScheduler", "BlockingScheduler", "AsyncIOScheduler", "TornadoScheduler", "GeventScheduler",
    "TwistedScheduler", "QtScheduler", "APScheduler",
)  # fmt: skip
_POOLS = {
    "threadpool": "thread", "processpool": "process", "asyncio": "loop", "debug": "loop", "gevent": "loop", "tornado": "thread",
    "twisted": "thread",
}  # fmt: skip
"""The executors of APScheduler, and what does the same here."""

Config = dict[str, Any]
"""A configuration as APScheduler nests it: expressions, and mappings of these."""


@dataclass
class Settings:
    """What the scheduler in the code has for all jobs."""

    zone: str
    host: str = "UTC"
    """The zone of the host, which a trigger object without a zone takes, whatever the scheduler's."""
    defaults: dict[str, Any] = field(default_factory=dict)
    executors: dict[str, str] = field(default_factory=dict)
    """The executors by their names: ``thread``, ``process`` or ``loop``."""


def scheduler_names(tree: ast.Module) -> set[str]:
    """Return the expressions that the code assigns a scheduler to, such as ``self.scheduler``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            if called(node.value) in SCHEDULERS:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {ast.unparse(target) for target in targets}
    return found


def is_scheduler(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is a scheduler: by what it was assigned, or by a name with ``sched`` in it."""
    text = ast.unparse(node)
    return text in names or "sched" in text.rpartition(".")[2].lower()


def read_settings(tree: ast.Module, zone: str, found: Imported) -> Settings:
    """Return the settings of the schedulers that the code makes; what cannot be read is noted."""
    settings, names, made = Settings(zone, zone), scheduler_names(tree), 0
    for node in sorted(_calls(tree), key=lambda one: one.lineno):
        name = called(node)
        if name in SCHEDULERS:
            made += 1
            _configure(node, name, settings, found)
        elif isinstance(node.func, ast.Attribute) and is_scheduler(node.func.value, names):
            if name == "configure":
                _configure(node, "configure", settings, found)
            elif name in ("add_jobstore", "add_executor"):
                _add(node, name, settings, found)
    _apply(configured(tree), settings, found)
    if made > 1:
        found.note(
            f"the file makes {made} schedulers; the jobs of all are given to one here, with the settings of all"
        )
    return settings


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _configure(node: ast.Call, name: str, settings: Settings, found: Imported) -> None:
    words = keywords(node)
    given = [*node.args[:1], *([words.pop("gconfig")] if "gconfig" in words else [])]
    prefix = value_of(words.pop("prefix", None))
    prefix = "apscheduler." if prefix is None and "prefix" not in keywords(node) else prefix or ""
    config: Config = {}
    unread = [
        ast.unparse(word.value) for word in node.keywords if word.arg is None and entries(word.value) is None
    ]
    for one in given:
        listed = entries(one)
        if listed is None:
            unread.append(ast.unparse(one))
        else:
            config |= _nested(listed, str(prefix))
    if unread:
        found.note(
            f"the arguments of {name} could not be read ({', '.join(unread)} in line {node.lineno}); give --tz, and "
            "--store if it has a job store"
        )
    _apply(config | words, settings, found)


def _nested(listed: Mapping[str, ast.expr], prefix: str) -> Config:
    found: Config = {}
    for name, value in listed.items():
        if not name.startswith(prefix):
            continue
        *path, last = name.removeprefix(prefix).split(".")
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


def _apply(config: Config, settings: Settings, found: Imported) -> None:
    zone = value_of(config.get("timezone"))
    if zone is not None and "get_localzone" not in as_code(zone):
        if named := zone_of(zone):
            settings.zone = named
        else:
            found.note(f"timezone={as_code(zone)} could not be read; give --tz")
    settings.defaults |= _defaults(config.get("job_defaults"), found)
    for alias, value in _mapping(config, "executors", found).items():
        _executor(alias, value, settings, found)
    for alias, value in _mapping(config, "jobstores", found).items():
        _store(alias, value, {}, found)


def _listed(value: Any) -> Mapping[str, Any] | None:
    """Return the entries of a configuration or of a mapping in the code; ``None`` if it is neither."""
    return cast("Config", value) if isinstance(value, dict) else entries(value)


def _mapping(config: Config, name: str, found: Imported) -> Mapping[str, Any]:
    value: Any = config.get(name, {})
    listed = _listed(value)
    if listed is None:
        found.note(
            f"{name}={ast.unparse(value)} could not be read"
            + ("; give --store" if name == "jobstores" else "")
        )
    return listed or {}


def _defaults(value: Any, found: Imported) -> dict[str, Any]:
    """Return the defaults of jobs; a configuration may have them as texts."""
    if value is None:
        return {}
    listed = _listed(value)
    if listed is None:
        found.note(f"job_defaults={ast.unparse(value)} could not be read, and is left out")
    read = {name: _typed(value_of(one)) for name, one in (listed or {}).items()}
    for name in [name for name, one in read.items() if isinstance(one, Code)]:
        found.note(f"job_defaults: {name}={read.pop(name).text} could not be read, and is left out")
    return read


def _typed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text.isdigit():
        return int(text)
    return {
        "none": None,
        "true": True,
        "yes": True,
        "on": True,
        "false": False,
        "no": False,
        "off": False,
    }.get(text, value)


def _add(node: ast.Call, name: str, settings: Settings, found: Imported) -> None:
    words = keywords(node)
    kind = words.pop("jobstore", words.pop("executor", node.args[0] if node.args else None))
    alias = value_of(words.pop("alias", node.args[1] if len(node.args) > 1 else None))
    named = alias if isinstance(alias, str) else "default"
    if kind is not None and name == "add_executor":
        _executor(named, kind, settings, found)
    elif kind is not None:
        _store(named, kind, words, found)


def _made(value: Any, suffix: str) -> tuple[str, dict[str, ast.expr]]:
    """Return the kind of a job store or executor, such as ``sqlalchemy``, with its arguments."""
    listed = _listed(value)
    if listed is not None:
        kind = str(value_of(listed.get("type", listed.get("class"))))
        words = {name: one for name, one in listed.items() if name not in ("type", "class")}
    elif isinstance(value, ast.Call):
        kind, words = called(value), {**dict(zip(("url",), value.args, strict=False)), **keywords(value)}
    else:
        kind, words = str(value_of(value)), {}
    return kind.replace(":", ".").rpartition(".")[2].removesuffix(suffix).lower(), words


def _executor(alias: str, value: Any, settings: Settings, found: Imported) -> None:
    kind, words = _made(value, "Executor")
    settings.executors[alias] = here = _POOLS.get(kind, "")
    most = value_of(words.get("max_workers", words.get("url")))  # its first argument
    if here in ("thread", "process") and most is not None:
        name = "ThreadExecutor" if here == "thread" else "ProcessExecutor"
        shown = most if isinstance(most, str) else as_code(most)
        found.note(
            f"the executor {alias!r} ran at most {shown} at once: for that write "
            f'Scheduler(executors={{"{here}": {name}({shown})}}), of asyncsched.executors'
        )


def _store(alias: str, value: Any, more: Mapping[str, ast.expr], found: Imported) -> None:
    kind, words = _made(value, "JobStore")
    if kind == "memory":
        return
    if kind != "sqlalchemy":
        name = {
            "mongodb": "MongoDB",
            "redis": "Redis",
            "zookeeper": "ZooKeeper",
            "rethinkdb": "RethinkDB",
        }.get(kind, kind)
        found.store_notes.append(
            f"the job store {alias!r} is in {name}, which is no store here: a scheduler has one, in SQLite or PostgreSQL"
        )
        return
    words = {**words, **more}
    url = value_of(words.get("url"))
    kept = store_url(url) if isinstance(url, str) else ""
    if not kept:
        said = (
            "its engine" if url is None else as_code(url) if isinstance(url, Code) else url.partition(":")[0]
        )
        found.store_notes.append(
            f"the URL of the job store {alias!r} ({said}) could not be taken over: the store here is a SQLite file of its "
            "own, or PostgreSQL"
        )
    elif kept != "memory://" and (not found.store or alias == "default"):
        keep_store(str(url), kept, found)
        found.store_notes.append("for the jobs that stand in the job store only, import it by its URL, too")


def keep_store(url: str, kept: str, found: Imported) -> None:
    """Take over a job store.

    Args:
        url: the old one's.
        kept: the one that it has here.
        found: takes it, and the note on it.

    """
    found.store = kept
    place = url.rpartition("@")[2].partition("?")[0]
    if kept.startswith("sqlite"):
        beside = f"a file of its own beside it, {kept}"
    else:
        beside = 'the same database, with tables of its own; it needs pip install "asyncsched[postgres]"'
    found.store_notes = [
        note for note in found.store_notes if not note.startswith(("APScheduler's", "for the jobs"))
    ]
    found.store_notes.append(f"APScheduler's jobs stay in {place}, and the store here is {beside}")


def store_url(url: str) -> str:
    """Return the store's URL here for that of SQLAlchemy; ``""`` if its database is none for a store.

    Of a SQLite file it is another one beside it, and of PostgreSQL the same.
    """
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return f"postgresql://{rest}"
    if kind != "sqlite":
        return ""
    path = rest.partition("?")[0].removeprefix("/")
    if path in ("", ":memory:"):
        return "memory://"
    old = PurePosixPath(path)
    return f"sqlite:///{old.with_name(f'{old.stem}-asyncsched{old.suffix}')}"
