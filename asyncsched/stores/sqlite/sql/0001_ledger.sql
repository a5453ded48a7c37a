-- The ledger: schedules, runs and instances of every namespace in this file.
-- Times are microseconds of cluster time since 1970-01-01 UTC; run ids are 32 hexadecimal digits.
-- STRICT: SQLite itself refuses a text where a number belongs.

-- Which of these files were applied: each adds a row when it is.
CREATE TABLE asyncsched_schema (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;

-- One row per namespace. `signal` counts writes that may give others something to do, `version` the
-- changes of schedules and job pauses, `dropped` is the version of the last removal, `seats` numbers
-- the instances in the order of their start.
CREATE TABLE asyncsched_ledger (
    namespace TEXT PRIMARY KEY,
    signal INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    seats INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE asyncsched_schedules (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    job TEXT NOT NULL,
    spec TEXT,
    anchor INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    next_slot INTEGER,
    next_due INTEGER,
    arguments TEXT NOT NULL,
    jitter INTEGER NOT NULL,
    tags TEXT,
    fingerprint TEXT NOT NULL,
    declared INTEGER NOT NULL,
    declared_by INTEGER NOT NULL,
    orphaned INTEGER NOT NULL,
    rescheduled INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    paused_at INTEGER,
    note TEXT NOT NULL,
    "by" TEXT NOT NULL,
    revision INTEGER NOT NULL,
    edition INTEGER NOT NULL,
    edition_since INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    failed_run TEXT,
    version INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE asyncsched_runs (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    due INTEGER NOT NULL,
    executor TEXT NOT NULL,
    schedule TEXT,
    origin TEXT NOT NULL,
    slot INTEGER,
    ready_at INTEGER,
    "rank" INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    waits_for TEXT,
    arguments TEXT NOT NULL,
    "key" TEXT,
    held_key TEXT,
    key_ttl INTEGER NOT NULL,
    tags TEXT,
    permits TEXT,
    max_attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    holder INTEGER NOT NULL DEFAULT 0,
    asked TEXT,
    started_at INTEGER,
    finished_at INTEGER,
    late INTEGER,
    why TEXT NOT NULL DEFAULT '',
    error TEXT,
    result TEXT,
    progress TEXT,
    attempts TEXT,
    carried TEXT,
    reference TEXT
) STRICT;

-- The claim: what is ready, by executor and priority. A run that waits for a limit, another run or a
-- resume has no ready_at, and is not in it.
CREATE INDEX asyncsched_runs_ready ON asyncsched_runs (namespace, executor, priority, ready_at)
    WHERE state = 'pending' AND ready_at IS NOT NULL;
-- Who waits for a place, in order of rank.
CREATE INDEX asyncsched_runs_waiting ON asyncsched_runs (namespace, waits_for, "rank")
    WHERE waits_for IS NOT NULL AND ready_at IS NULL;
-- At most one run of a slot's own.
CREATE UNIQUE INDEX asyncsched_runs_slot ON asyncsched_runs (namespace, schedule, slot)
    WHERE origin = 'schedule';
-- The runs of a schedule's own that have no outcome yet, in the order in which they begin: the overlap rule.
CREATE INDEX asyncsched_runs_live ON asyncsched_runs (namespace, schedule, due, id)
    WHERE origin = 'schedule' AND state IN ('pending', 'running');
-- A key has one run while it holds it.
CREATE UNIQUE INDEX asyncsched_runs_key ON asyncsched_runs (namespace, job, held_key)
    WHERE held_key IS NOT NULL;
-- What an instance executes.
CREATE INDEX asyncsched_runs_held ON asyncsched_runs (namespace, holder) WHERE state = 'running';
-- The history: what is old, and what a schedule did last.
CREATE INDEX asyncsched_runs_finished ON asyncsched_runs (namespace, finished_at)
    WHERE finished_at IS NOT NULL;
CREATE INDEX asyncsched_runs_recent ON asyncsched_runs (namespace, schedule, finished_at)
    WHERE finished_at IS NOT NULL AND schedule IS NOT NULL;
-- Lists, newest first.
CREATE INDEX asyncsched_runs_due ON asyncsched_runs (namespace, due);

CREATE TABLE asyncsched_stretches (
    namespace TEXT NOT NULL,
    schedule TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    exact INTEGER NOT NULL,
    PRIMARY KEY (namespace, schedule, first)
) STRICT, WITHOUT ROWID;

-- One row per limit and value: how many hold it; and of a rate its theoretical arrival time, and the
-- run whose turn is next.
CREATE TABLE asyncsched_limits (
    namespace TEXT NOT NULL,
    "key" TEXT NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    theoretical INTEGER NOT NULL DEFAULT 0,
    trying TEXT,
    PRIMARY KEY (namespace, "key")
) STRICT, WITHOUT ROWID;

CREATE TABLE asyncsched_paused_jobs (
    namespace TEXT NOT NULL,
    job TEXT NOT NULL,
    note TEXT NOT NULL,
    "by" TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (namespace, job)
) STRICT, WITHOUT ROWID;

-- The schedulers that are running. A row that is gone was left, or declared dead.
CREATE TABLE asyncsched_instances (
    namespace TEXT NOT NULL,
    incarnation INTEGER NOT NULL CHECK (incarnation > 0),
    beat INTEGER NOT NULL,
    seat INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    role TEXT NOT NULL,
    jobs TEXT NOT NULL,
    schedules TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, incarnation)
) STRICT, WITHOUT ROWID;
