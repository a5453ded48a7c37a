"""A ledger of a million runs, made inside the database: two hundred thousand wait for a limit.

Of the runs of one namespace a fifth waits for a limit, a fifth is pending (half of that ready), one in
a hundred is running, held by eight instances, two of them under the limit, and the rest has ended, two
thousand of them as dead letters, over two thousand schedules, each with fifty stretches of slots without
a run. One run in twenty has the key ``often``, and another one in twenty the tag ``often``; all of those succeeded.
"""

from __future__ import annotations

import re
from typing import Any

from asyncsched.stores.sql.schema import script
from asyncsched.stores.sql.statements import migrations

RUNS = 1_000_000
TAGGED = RUNS // 20
NOW = 1_767_225_600_000_000
"""The moment, in microseconds: where virtual time begins. The run ``i`` is due ``NOW + (i - RUNS / 2)`` s."""

_MOST = ("pending", "running", "succeeded", "failed")
FILTERS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, _MOST),
    ({"job": "job"}, _MOST),
    ({"job": "none"}, ()),
    ({"schedule": "s8"}, ("succeeded",)),
    ({"schedule": "none"}, ()),
    ({"key": "often"}, ("succeeded",)),
    ({"key": "none"}, ()),
    ({"tag": "often"}, ("succeeded",)),
    ({"tag": "none"}, ()),
    ({"origin": "once"}, _MOST),
    ({"origin": "schedule"}, ("succeeded",)),
    ({"origin": "backfill"}, ()),
    ({"job": "job", "origin": "backfill"}, ()),
    ({"schedule": "s8", "origin": "manual"}, ()),
    ({"start": NOW}, _MOST),
    ({"start": NOW + RUNS * 1_000_000}, ()),
    ({"end": NOW}, _MOST),
    ({"end": NOW - RUNS * 1_000_000}, ()),
    ({"job": "job", "end": NOW - RUNS * 1_000_000}, ()),
]
"""Each filter of a list, with the states of the runs that match it."""

_INSERT = """INSERT INTO asyncsched_runs (
    id, namespace, job, due, executor, origin, schedule, slot, ready_at, "rank", priority, waits_for, arguments,
    permits, key_ttl, max_attempts, state, attempt, started_at, finished_at, holder, "key", tags
) SELECT {id}, 'default', CASE WHEN i % 40 < 30 THEN 'job' ELSE 'other' END, {due}, 'loop',
    CASE WHEN i % 10 = 4 THEN 'schedule' ELSE 'once' END, CASE WHEN i % 10 = 4 THEN 's' || {thousands} END,
    CASE WHEN i % 10 = 4 THEN {due} END, CASE WHEN i % 5 = 1 THEN {due} END, {due}, i % 3,
    CASE WHEN i % 5 = 0 THEN CASE WHEN i % 2 = 0 THEN 'limit' ELSE 'limit ' || (i % 100) END END, '{{}}',
    CASE WHEN i IN (402, 502) THEN '[["limit",2]]'
    WHEN i % 5 = 0 THEN CASE WHEN i % 2 = 0 THEN '[["limit",2]]' ELSE '[["limit ' || (i % 100) || '",2]]' END END,
    0, 2, CASE WHEN i % 5 < 2 THEN 'pending' WHEN i % 100 = 2 THEN 'running'
    WHEN i % 500 = 7 THEN 'failed' ELSE 'succeeded' END, 1, {due},
    CASE WHEN i % 5 >= 2 AND i % 100 <> 2 THEN {due} END, CASE WHEN i % 5 < 2 THEN 0 ELSE 2 + {hundreds} % 8 END,
    CASE WHEN i % 20 = 3 THEN 'often' END, CASE WHEN i % 20 = 4 THEN '["often"]' END
FROM {numbers}"""
_SCHEDULES = """INSERT INTO asyncsched_schedules SELECT 'default', 's' || i, 'job',
    '{{"interval":1000000000,"start":null,"end":null,"immediate":false}}', 0, 0, {now}, {now}, '{{}}', 0, NULL, 'f', 0, 0, 0, 0, 0, NULL, '', '',
    1, 1, 0, 0, 0, NULL, 1, NULL, 0 FROM {numbers}"""
_INSTANCES = """INSERT INTO asyncsched_instances SELECT 'default', 2 + i, 1, 2 + i, 'h', 1, '1', 'both', '["job"]',
    '[]', 0, 0, 0 FROM {numbers}"""
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)",
    "postgres": "generate_series(0::bigint, {last}) AS i",
}
_ID = {"sqlite": "printf('%032x', i + 1)", "postgres": "lpad(to_hex(i + 1), 32, '0')::uuid"}


def statements(dialect: str) -> list[str]:
    """Return what fills an empty database; the indexes are made when the rows are there, which is quicker."""
    tables = script(migrations(dialect))
    found = re.findall(
        r"^(?:CREATE (?:UNIQUE )?|DROP )INDEX (asyncsched_runs\w*)(.*?;)$", tables, re.M | re.S
    )
    made = re.findall(r"^(?:CREATE (?:UNIQUE )?|DROP )INDEX asyncsched_runs.*?;$", tables, re.M | re.S)
    for statement in made:
        tables = tables.replace(statement, "")
    # Of an index that a later migration makes anew, the last definition counts.
    indexes = {name: statement for (name, _), statement in zip(found, made, strict=True)}.values()
    words = {
        "id": _ID[dialect], "due": f"({NOW} + (i - {RUNS // 2}) * 1000000)", "now": NOW,
        "thousands": "((i / 10) % 2000)", "hundreds": "(i / 100)",
    }  # fmt: skip

    def numbers(count: int) -> str:
        return _NUMBERS[dialect].format(last=count - 1)

    return [
        tables,
        _INSERT.format(**words, numbers=numbers(RUNS)),
        _SCHEDULES.format(**words, numbers=numbers(2000)),
        _INSTANCES.format(**words, numbers=numbers(8)),
        "INSERT INTO asyncsched_stretches SELECT 'default', 's' || (i % 2000), i, i, 1, 'missed', 1 FROM "
        f"{numbers(100_000)}",
        f"INSERT INTO asyncsched_limits SELECT 'default', 'limit ' || i, 2, 0, NULL FROM {numbers(100)}",
        "INSERT INTO asyncsched_limits VALUES ('default', 'limit', 2, 0, NULL)",
        "INSERT INTO asyncsched_ledger (namespace, version) VALUES ('default', 1)",
        *(index for index in indexes if not index.startswith("DROP")),
    ]
