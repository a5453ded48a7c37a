"""The rows that miss their goals, or only just reach them, each with its profile: where its time goes, and why it stays.

The guide's page is written from here, so these figures are the profile's own, not those of the last table.
"""

from __future__ import annotations

ROWS: dict[str, str] = {
    "5a, one writer": """\
One durable `schedule_once` after the other on SQLite. With both files in memory a call takes 75 µs, a bare insert 15 and a
bare hop to a thread and back 36: 1.6 to 1.7 hops more than raw, where 1.5 are the goal. Of it the call, its run and its
request are 10 µs, the wake-ups of the thread and of the loop 6 and 7, the insert 23 (21 columns, and four indexes in
place of two), what else the thread does 11, and the way back to the caller 9. One call is one `INSERT` that commits
itself: no `BEGIN`, no second statement, one wake-up each way. On a disk the log decides: 21.3 kB of it for one call in
place of 12.7 kB (five pages in place of three), so that the difference grows to about three hops. What would bring it
down are the two indexes of the lists, by job and by state, which the page, the command line and `scheduler.runs()`
read; they stay.""",
    "5c, enqueue": """\
64 writers on PostgreSQL. Each call costs the event loop 9 µs, the database thread 6, the thread of notifications 1, and
the server 12 (of which the two indexes of the lists are 5.8); a batch is 32 rows, and the rest of its time it waits for
the disk. The floor has 16 connections that wait for it at once. So a second connection writes new runs while the
first one waits: 1.28 × as many a second as with one, and 3.8 × raw in place of 2.8 (medians of eight rounds by turns, other
work beside them). A third connection gained nothing. What is left is the wait for the disk: with 64 writers there
are never more than 64 rows on their way, and the 16 bare connections have 16. `synchronous_commit` stays on, and no batch
waits to fill.""",
    "6b, p50 after the tick": """\
Four processes and the server on two cores. All four wake at the tick and try for the 20 schedules; the first to lock
their rows fires all of them in one transaction of eight round trips, the others find that they have moved: 18
transactions a second of all four, with their polls, beats and figures. Where the cores are free that takes less than
10 ms; beside other work it is the wait for a core, which pgqueuer, measured in the same rounds, has as well.""",
    "Transactions of a firing": """\
Two are the claim, which fires the slot and begins the run, and the record of its end. The half beside them is the
figures of schedules and of the whole, which are written for all firings of a second at once.""",
    "Wake-ups of an idle store": """\
SQLite is looked at four times a second, for other processes cannot tell of their writes: a timer of the loop, a hop to the
reader's thread and the answer are three wake-ups each, 720 a minute; the beats are 36. PostgreSQL notifies, and is looked
at once a second in case that a notification is lost: 180, and beats on a connection of their own. `poll=` of the
store sets how often: fewer looks are a later start of what another process has added, and nothing else.""",
}
