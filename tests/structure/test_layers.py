"""The package keeps its layers and its size, and one module alone reads the clock for the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.structure.__main__ import figures
from tests.structure.measure import (
    PACKAGE,
    READING_PATH,
    Import,
    circles,
    constructor_parameters,
    entries,
    entries_floors,
    graph,
    imports,
    lines,
    modules,
)  # fmt: skip

_WORDS = "_core abc _backends"
_ROOMS = "triggers policies executors stores observers"

MAY_IMPORT = {
    "_core": "",
    "abc": "_core",
    "_backends": "_core abc",
    **dict.fromkeys(_ROOMS.split(), _WORDS),
    "_engine": _WORDS,
    "_scheduler": f"{_WORDS} {_ROOMS} _engine",
    "__main__": "cli",
    **dict.fromkeys(
        ["__init__", "events", "views", "asgi", "dashboard", "cli", "testing"],
        f"{_WORDS} {_ROOMS} _engine _scheduler",
    ),
}
"""What each folder may import beside itself; nothing else imports the last row."""

CIRCLES = [{"triggers.base", "triggers.combine"}]
"""One is meant: ``except_`` is a method of every trigger, and makes a combination."""

CLOCKS = {
    "_backends.clock": "the door",
    "executors.handoff.courier": "how long an engine and its tasks are waited for, in the real world that they are in",
    "executors.batches": "how long a thread or a process was busy with a batch",
    "executors.process.link": "how long a process has to answer and to die, a matter of the machine's own time",
    "cli.doctor": "how long a store takes to answer",
    "_engine.watchdog": "how long the machine's own loop stands still, which its clock cannot tell",
    "stores.postgres.connection": "how long a server has been silent",
    "stores.postgres.notifications": "how long a thread sleeps between two queries on a connection",
    "stores.sql.open_transactions": "how long a transaction of the user's is open",
    "stores.sqlite.store": "how long another thread may hold a file's lock",
    "stores.sql.schema": "how long a thread waits for a database that is locked or away",
    "stores.sqlite.file": "how long a thread waits for a file's lock",
    "stores.sql.thread": "how long a thread took to write a batch",
    "stores.postgres.store": "how old the server's last answer is",
    "testing.virtual.asyncio_loop": "how long virtual time may stand still for real work",
    "testing.virtual.trio_clock": "the same for trio",
}
"""Modules that may read a clock, and why. Whatever is about schedules goes through ``_backends.clock``."""

LONGER: dict[str, int] = {}
"""Modules that are not down to 350 lines yet, and the lines that they may have until then."""

READING_PATH_LINES = 1500
"""The lines that the reading path may have."""

MORE_PARAMETERS = {
    "_core.records.RunRecord": 16,
    "_core.requests.Firing": 9,
    "_core.requests.Verdict": 8,
    "_scheduler.scheduler.Scheduler": 14,
    "triggers.every.Every": 8,
    "triggers.interval.Interval": 8,
}
"""Constructors with more than 7 parameters: records, and public classes whose users name each."""

MODULES = modules()


def allowed(one: Import) -> bool:
    """Whether an import keeps the rule."""
    folder, target = one.module.split(".")[0], one.target.split(".")[0]
    return target in {folder, *MAY_IMPORT[folder].split()}


def test_every_folder_has_its_layer() -> None:
    homeless = set(entries(MODULES)) - set(MAY_IMPORT)
    assert not homeless, "say in MAY_IMPORT what it may import"


def test_a_module_imports_only_what_stands_below_it() -> None:
    assert [str(one) for module in MODULES for one in imports(module, MODULES) if not allowed(one)] == []


FOLDERS = [name for name, path in MODULES.items() if path.name == "__init__.py" and name != "__init__"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_it_may_import_and_where_to_begin_reading(folder: str) -> None:
    said = ast.get_docstring(ast.parse(MODULES[folder].read_text())) or ""
    first, _, second = said.partition("\n\n")
    assert first.endswith(".")
    assert second.startswith("This folder may import ")
    begin = re.search(r"Begin\s+reading\s+at\s+``([\w/]+)``", second)
    assert begin
    assert f"{folder}.{begin[1].replace('/', '.')}" in MODULES


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert sorted(map(sorted, circles(graph(MODULES)))) == sorted(map(sorted, CIRCLES))


def test_the_package_has_few_entries_on_few_floors() -> None:
    assert max(entries_floors(graph(MODULES)).values()) <= 7
    assert (
        len(entries(MODULES)) <= 18
    )  # 14 from before views, the dashboard, the command line and its ``__main__``


def test_a_module_can_be_read_in_one_go() -> None:
    long = {module: lines(path) for module, path in MODULES.items()}
    assert {module: many for module, many in long.items() if many > LONGER.get(module, 350)} == {}
    short = {module for module, many in long.items() if many < 20 and MODULES[module].name != "__init__.py"}
    assert short <= {"_core.version"}


def test_the_reading_path_is_short() -> None:
    assert sum(lines(MODULES[module]) for module in READING_PATH) <= READING_PATH_LINES


def test_a_constructor_has_few_parameters() -> None:
    many = {name: count for name, count in constructor_parameters(MODULES).items() if count > 7}
    assert {name: count for name, count in many.items() if count > MORE_PARAMETERS.get(name, 7)} == {}


def test_no_exception_outlives_its_reason() -> None:
    assert [module for module in LONGER if module not in MODULES or lines(MODULES[module]) <= 350] == []
    counted = constructor_parameters(MODULES)
    assert [name for name in MORE_PARAMETERS if counted.get(name, 0) <= 7] == []


def test_the_figures_can_be_printed() -> None:
    assert figures(PACKAGE, READING_PATH)["circles of imports at run time"] == "1"
    assert figures(PACKAGE, ["abc", "nonsense"])["lines of the reading path"] == "- (no nonsense)"


def clock_readings(source: str) -> Iterator[str]:
    """Yield where a clock is read: any use of ``time``, and what asks for now or today."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name == "time" for alias in node.names):
            yield f"{node.lineno}: import time"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"{node.lineno}: from time import"
        elif isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            if ast.unparse(node.value) in ("datetime", "datetime.datetime", "date", "datetime.date"):
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_a_module_reads_no_clock_but_through_the_door() -> None:
    readings = {module: list(clock_readings(path.read_text())) for module, path in MODULES.items()}
    readers = {module: found for module, found in readings.items() if found}
    assert {module: found for module, found in readers.items() if module not in CLOCKS} == {}
    assert set(CLOCKS) - set(readers) == set(), "these read no clock, and need no exception"


@pytest.mark.parametrize(
    "module, target, fine",
    [
        ("_engine.engine", "stores.memory.store", False),
        ("_engine.engine", "_core.rules.due", True),
        ("_core.rules.due", "_engine.engine", False),
        ("stores.sqlite.store", "stores.sql.store", True),
        ("stores.sqlite.store", "triggers.cron", False),
        ("_scheduler.scheduler", "asgi", False),
        ("testing.plugin", "stores.memory", True),
    ],
)
def test_the_rule_knows_right_from_wrong(module: str, target: str, fine: bool) -> None:
    assert allowed(Import(module, target, 1)) is fine


@pytest.mark.parametrize(
    "source, read",
    [
        ("import time", True),
        ("from time import monotonic", True),
        ("datetime.now(UTC)", True),
        ("datetime.datetime.utcnow()", True),
        ("date.today()", True),
        ("clock.now()", False),
        ("from datetime import time", False),
    ],
)
def test_reading_a_clock_is_seen(source: str, read: bool) -> None:
    assert bool(list(clock_readings(source))) is read
