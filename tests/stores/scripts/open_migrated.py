"""Open a database with one more migration, as soon as stdin ends: `open_migrated.py URL SQL`."""

from __future__ import annotations

import sys

import anyio

from asyncsched import Scheduler
from asyncsched.stores.sql import schema
from asyncsched.stores.sql.statements import Migration, migrations

if sys.argv[1].startswith("postgresql:"):
    import asyncsched.stores.postgres  # noqa: F401


async def main() -> None:
    async with Scheduler(sys.argv[1], store_timeout=20):
        pass


def known(dialect: str) -> tuple[Migration, ...]:
    real = migrations(dialect)
    return (*real, Migration(len(real) + 1, "0099_colours", sys.argv[2]))


if __name__ == "__main__":
    schema.migrations = known  # type: ignore[assignment]
    print("ready", flush=True)
    sys.stdin.read()
    anyio.run(main)
