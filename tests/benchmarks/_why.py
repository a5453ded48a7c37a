"""The rows that miss their goals, or only just reach them, each with its profile: where its time goes, and why it stays.

The guide's page is written from here, so these figures are the profile's own, not those of the last table.
"""

from __future__ import annotations

ROWS: dict[str, str] = {
    "1a and 1c, p99 lateness of 1,000 and 5,000 at once": """\
All are due in the same moment, so the last one starts after all others have been fired: its lateness is their number
times the CPU of a firing, 13 µs, and the row is 1b once more. The heap's 4.5 ms is what 1,000 bare tasks take.""",
    "1b, CPU per firing": """\
A firing of an interval in memory is 124,000 instructions and 71 calls of Python functions (95 when the goal was missed
first); the table below says in which step. No step stands out: the largest is the ledger, a third, which moves the
schedule on, queues the run, begins it, ends it, and keeps it in a history of bounded size. aps3 keeps no runs:
no id, no record, no outcome, no reason for a slot without a run. What is left to save are calls, at about 1,500
instructions each; to reach the goal a third of them would have to be merged into a few long functions, and those would
be the part of the code that one reads first.""",
    "4a, no-op jobs": """\
A bare `create_task` of a coroutine that does nothing is 37,200 instructions, of which most are asyncio's own; two times
that is the goal. A one-off is such a task as well, and 65,500 instructions more (`schedule_many`; 80,600 with
one `await schedule_once` each): its arguments are checked, it gets an id, a record and a handle, waits in a queue by
priority, takes a place of its executor, has a context of its own, and its outcome is kept and counted. On Python 3.12
and later the task begins at once where it is made, so that a job that never waits is not queued in the loop: 8 % fewer
instructions than without that.""",
    "4b, jobs that suspend once": """\
The same work beside anyio's `start_soon`: on asyncio 115,300 instructions to 128,200, so that a run with its record costs
less than a bare task of a task group, but not half of it. On trio 205,600 to 177,200: there `start_soon` is trio's own, and
a run is such a task, too, for each needs a cancel scope and a task that no other run shares. What comes on top is what
it is on asyncio, and a goal of half of trio's own task was out of reach.""",
    "8a, until a scheduler is made": """\
`import asyncsched` alone imports nothing: the public names are imported when they are first used, so a worker process
imports what it needs. An app pays when it makes its scheduler: 523 million instructions over a bare interpreter, where
anyio with its backend takes 313. Some 200 million are asyncio, typing, inspect and logging, which anyio imports as well, and
an app with FastAPI has already. Of the rest, some 100 million are the methods of 28 dataclasses and 25 million those of
32 named tuples, which Python writes as text and compiles at each start (views and events compile theirs with
their first value, which saved 120 million), and 60 million the reading of 160 modules. It is imported with the scheduler,
and not at its first firing, where it would hold up requests.""",
    "Start with 50,000 schedules": """\
In memory, where all of them are made anew: 1.8 s for 50,000 declared functions and 1.9 s for `add_schedules`, where 2 are the
goal. Of that 0.7 and 0.4 s are Python's garbage collector, which looks through the growing heap again whenever it has grown
by a quarter: a declared job is 15 objects that it knows, a schedule 6 or 7 (22 and 8 before, and 2.4 and 2.0 s). A library should
not switch off its host's collector; an app that declares so many may do so between `gc.disable()` and `gc.enable()`. The
largest parts of the rest are `inspect.signature` of each function, the parsing of 20,000 cron texts (0.3 s) and their words. Over
SQLite and PostgreSQL, where the schedules are in the database already, a start takes half a second.""",
    "5a and 5b, 64 writers and run to succeeded": """\
Both are as fast as one interpreter: 14.5 µs of CPU for an enqueue would be 69,000 a second, of which 63,000 are reached,
and 23 µs for a run 43,000, of which 42,000 are. The raw side waits for its disk (8,500 commits a second are 118 µs
each) and hardly computes, so that the ratio is that of this machine's processor to its disk: where a commit takes longer it
is higher. What the CPU is spent on stands below; the loop and the database thread share it.""",
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
    "6a, jobs of four processes": """\
2.9 to 3.1 times pgqueuer in five rounds, so that the goal of 3 is met in some. Four processes and the server share two
cores, and all are busy: a job costs the four 27 µs (pgqueuer 60), and the rest is the server's. With batches of 100,
which is not its default, pgqueuer is at three quarters of ours.""",
    "6b, p50 after the tick": """\
Four processes and the server on two cores. All four wake at the tick and try for the 20 schedules; the first to lock
their rows fires all of them in one transaction of eight round trips, the others find that they have moved: 18
transactions a second of all four, with their polls, beats and figures. Where the cores are free that takes less than
10 ms; beside other work it is the wait for a core, which pgqueuer, measured in the same rounds, has as well.""",
    "7a, requests beside 1,000 jobs": """\
All 1,000 are due in the same moment of each second, and take 13 ms of the loop: of 400 requests a second, five come in
that time, which is just more than one in a hundred, so that the 99th percentile is a request of those five. It has
its turn between portions of the burst (64 firings, 32 begins: half a millisecond each). Where each portion was followed by
one turn of the loop, it had to wait for three of them, to be read, answered and written: 1.0 ms in place of 0.25 without
jobs. With three turns between portions it waits for one: 0.6 to 0.8 ms, for 1 to 2 % more CPU in a burst. Portions of a
quarter were tried as well, and bring the same for 10 % more CPU of each firing, which every app would pay. APScheduler
makes a request wait for the whole burst, 8 ms. Spread over the second the same jobs are not felt: 0.9 to 1.4 × in most
rounds, and `jitter=` spreads them.""",
    "Transactions of a firing": """\
Two are the claim, which fires the slot and begins the run, and the record of its end. The half beside them is the
figures of schedules and of the whole, which are written for all firings of a second at once.""",
    "Wake-ups of an idle store": """\
SQLite is looked at four times a second, for other processes cannot tell of their writes: a timer of the loop, a hop to the
reader's thread and the answer are three wake-ups each, 720 a minute; the beats are 36. PostgreSQL notifies, and is looked
at once a second in case that a notification is lost: 180, and beats on a connection of their own. `poll=` of the
store sets how often: fewer looks are a later start of what another process has added, and nothing else.""",
}

FIRING = """\
### One firing, step by step

Bytecodes (and calls of Python functions) of one firing of an interval, and of one no-op of `schedule_many`, in memory on
Python 3.11. What C code takes beside them, such as the task itself and the heap, is in proportion. For the scale: a bare
`create_task` with its turn of the loop is 430 bytecodes and 24 calls.

| step                                                             | interval   | one-off    |
|------------------------------------------------------------------|------------|------------|
| due heap and plan: which slots are due, which comes next         | 408 (8)    | 4 (0)      |
| call: arguments checked, id, handle                              | 33 (3)     | 334 (13)   |
| record of the run                                                | 109 (4)    | 87 (1)     |
| ledger: fire, queue by rank, pauses and limits, begin, end, history | 709 (18) | 436 (11)   |
| attempt: context, current run, policies, the job itself          | 397 (10)   | 398 (10)   |
| task and loop: spawning, asyncio's queue, the loop's turn        | 264 (14)   | 295 (17)   |
| end: verdict, place of the executor, handles, observers          | 156 (6)    | 157 (6)    |
| figures                                                          | 27 (1)     | 94 (2)     |
| clock, and else                                                  | 54 (7)     | 10 (2)     |
| **all**                                                          | 2,156 (71) | 1,814 (63) |

The figures of a one-off were 130 bytecodes before they were counted with one search for each bin; an interval's are
counted when 64 of its runs have ended, or somebody reads them, at the same cost for each run.
"""
