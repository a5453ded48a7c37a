-- The figures of runs: one row for each schedule, and for the one-offs of each job; `figures` is JSON, and
-- `version` is the number of the write.
CREATE TABLE asyncsched_tallies (
    namespace TEXT NOT NULL,
    subject TEXT NOT NULL,
    figures TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (namespace, subject)
) STRICT, WITHOUT ROWID;

-- The figures of the whole namespace: one row for each half minute of two days; `late` is JSON.
CREATE TABLE asyncsched_periods (
    namespace TEXT NOT NULL,
    start INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    late TEXT NOT NULL,
    PRIMARY KEY (namespace, start)
) STRICT, WITHOUT ROWID;

-- What each instance has added last, so that nothing is added twice.
CREATE TABLE asyncsched_counted (
    namespace TEXT NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (namespace, source)
) STRICT, WITHOUT ROWID;

-- What people and programs did, in order of id.
CREATE TABLE asyncsched_activity (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    "by" TEXT NOT NULL,
    note TEXT NOT NULL,
    via TEXT NOT NULL,
    result TEXT NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;
