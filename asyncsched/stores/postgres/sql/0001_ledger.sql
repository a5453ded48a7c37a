-- The ledger: schedules, runs and instances of every namespace in this database.
-- Times are microseconds of cluster time since 1970-01-01 UTC.

-- Which of these files were applied: each adds a row when it is.
CREATE TABLE asyncsched_schema (number integer PRIMARY KEY, name text NOT NULL);

-- One row per namespace. `version` counts the changes of schedules and job pauses, `dropped` is the
-- version of the last removal, `seats` numbers the instances in the order of their start.
CREATE TABLE asyncsched_ledger (
    namespace text COLLATE "C" PRIMARY KEY,
    signal bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,
    seats bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE asyncsched_schedules (
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    spec text,
    anchor bigint NOT NULL,
    cursor bigint NOT NULL,
    next_slot bigint,
    next_due bigint,
    arguments text NOT NULL,
    jitter bigint NOT NULL,
    tags text,
    fingerprint text NOT NULL,
    declared smallint NOT NULL,
    declared_by bigint NOT NULL,
    orphaned smallint NOT NULL,
    rescheduled smallint NOT NULL,
    paused smallint NOT NULL,
    paused_at bigint,
    note text NOT NULL,
    "by" text NOT NULL,
    revision bigint NOT NULL,
    edition bigint NOT NULL,
    edition_since bigint NOT NULL,
    failures bigint NOT NULL,
    created_at bigint NOT NULL,
    failed_run uuid,
    version bigint NOT NULL,
    PRIMARY KEY (namespace, id)
) WITH (fillfactor = 70);

CREATE TABLE asyncsched_runs (
    id uuid PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    due bigint NOT NULL,
    executor text COLLATE "C" NOT NULL,
    schedule text COLLATE "C",
    origin text COLLATE "C" NOT NULL,
    slot bigint,
    ready_at bigint,
    "rank" bigint NOT NULL,
    priority integer NOT NULL,
    waits_for text COLLATE "C",
    arguments text NOT NULL,
    "key" text COLLATE "C",
    held_key text COLLATE "C",
    key_ttl bigint NOT NULL,
    tags text,
    permits text,
    max_attempts integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    holder bigint NOT NULL DEFAULT 0,
    asked text,
    started_at bigint,
    finished_at bigint,
    late bigint,
    why text NOT NULL DEFAULT '',
    error text,
    result text,
    progress text,
    attempts text,
    carried text,
    reference text
) WITH (
    -- Every run is updated at least twice, and most are gone after a week.
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);

-- The claim: what is ready, by executor and priority. A run that waits for a limit, another run or a
-- resume has no ready_at, and is not in it.
CREATE INDEX asyncsched_runs_ready ON asyncsched_runs (namespace, executor, priority, ready_at, job)
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
    namespace text COLLATE "C" NOT NULL,
    schedule text COLLATE "C" NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    count bigint NOT NULL,
    reason text NOT NULL,
    exact smallint NOT NULL,
    PRIMARY KEY (namespace, schedule, first)
);

-- One row per limit and value: how many hold it; and of a rate its theoretical arrival time, and the
-- run whose turn is next.
CREATE TABLE asyncsched_limits (
    namespace text COLLATE "C" NOT NULL,
    "key" text COLLATE "C" NOT NULL,
    used bigint NOT NULL DEFAULT 0,
    theoretical bigint NOT NULL DEFAULT 0,
    trying text,
    PRIMARY KEY (namespace, "key")
) WITH (fillfactor = 50);

CREATE TABLE asyncsched_paused_jobs (
    namespace text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    note text NOT NULL,
    "by" text NOT NULL,
    since bigint NOT NULL,
    PRIMARY KEY (namespace, job)
);

-- The schedulers that are running. A row that is gone was left, or declared dead.
CREATE TABLE asyncsched_instances (
    namespace text COLLATE "C" NOT NULL,
    incarnation bigint NOT NULL CHECK (incarnation > 0),
    beat bigint NOT NULL,
    seat bigint NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    role text NOT NULL,
    jobs text NOT NULL,
    schedules text NOT NULL,
    started_at bigint NOT NULL,
    beat_at bigint NOT NULL,
    PRIMARY KEY (namespace, incarnation)
) WITH (fillfactor = 50);
