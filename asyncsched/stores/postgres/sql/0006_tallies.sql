-- The figures of runs: one row for each schedule, and for the one-offs of each job; `figures` is JSON, and
-- `version` is the number of the write.
CREATE TABLE asyncsched_tallies (
    namespace text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    figures text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (namespace, subject)
);

-- The figures of the whole namespace: one row for each half minute of two days; `late` is JSON.
CREATE TABLE asyncsched_periods (
    namespace text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    missed bigint NOT NULL,
    late text NOT NULL,
    PRIMARY KEY (namespace, start)
);

-- What each instance has added last, so that nothing is added twice.
CREATE TABLE asyncsched_counted (
    namespace text COLLATE "C" NOT NULL,
    source bigint NOT NULL,
    number bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (namespace, source)
);

-- What people and programs did, in order of id.
CREATE TABLE asyncsched_activity (
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    action text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    "by" text NOT NULL,
    note text NOT NULL,
    via text NOT NULL,
    result text NOT NULL,
    failed bigint NOT NULL,
    PRIMARY KEY (namespace, id)
);
