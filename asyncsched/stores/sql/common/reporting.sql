-- name: number_tallies
-- Number a write of figures. The row stays locked until the end of the transaction: of several writers one goes
-- after the other, so that a reader who knows a version knows all before it.
INSERT INTO asyncsched_counted (namespace, source, number, version) VALUES (:namespace, 0, 0, 1)
ON CONFLICT (namespace, source) DO UPDATE SET version = asyncsched_counted.version + 1 RETURNING version;

-- name: tallies_version
-- The number of the last write of figures.
SELECT version FROM asyncsched_counted WHERE namespace = :namespace AND source = 0;

-- name: counted
-- What an instance has added last.
SELECT number FROM asyncsched_counted WHERE namespace = :namespace AND source = :source;

-- name: set_counted
-- Remember what an instance has added.
INSERT INTO asyncsched_counted (namespace, source, number, version) VALUES (:namespace, :source, :number, :version)
ON CONFLICT (namespace, source) DO UPDATE SET number = excluded.number, version = excluded.version;

-- name: tallies_since
-- The tallies that were written since a version.
SELECT subject, figures FROM asyncsched_tallies WHERE namespace = :namespace AND version > :version;

-- name: tally
-- One tally.
SELECT figures FROM asyncsched_tallies WHERE namespace = :namespace AND subject = :subject;

-- name: put_tally
-- Insert or replace a tally.
INSERT INTO asyncsched_tallies (namespace, subject, figures, version) VALUES (?, ?, ?, ?)
ON CONFLICT (namespace, subject) DO UPDATE SET figures = excluded.figures, version = excluded.version;

-- name: rename_tally
-- Give a tally to another subject that has none.
UPDATE asyncsched_tallies SET subject = :new, version = :version
WHERE namespace = :namespace AND subject = :old AND NOT EXISTS (
    SELECT 1 FROM asyncsched_tallies AS o WHERE o.namespace = :namespace AND o.subject = :new
);

-- name: periods
-- The periods from one to another.
SELECT start, succeeded, failed, cancelled, skipped, late, took FROM asyncsched_periods
WHERE namespace = :namespace AND start BETWEEN :first AND :last;

-- name: periods_since
-- The periods that were written since a version.
SELECT start, succeeded, failed, cancelled, skipped, late, took FROM asyncsched_periods
WHERE namespace = :namespace AND version > :version;

-- name: put_period
-- Insert or replace a period. What was missed stands in two columns: an instance of an older version knows one only.
INSERT INTO asyncsched_periods (namespace, start, succeeded, failed, cancelled, missed, late, skipped, took, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, start) DO UPDATE SET
    succeeded = excluded.succeeded, failed = excluded.failed, cancelled = excluded.cancelled,
    missed = excluded.missed, late = excluded.late, skipped = excluded.skipped, took = excluded.took,
    version = excluded.version;

-- name: prune_periods
-- Drop the periods that are too old.
DELETE FROM asyncsched_periods WHERE namespace = :namespace AND start < :horizon;

-- name: prune_counted
-- Forget the instances that have not added anything for a very long time.
DELETE FROM asyncsched_counted WHERE namespace = :namespace AND source <> 0 AND version < :version;

-- name: add_activity
-- Keep a record of what somebody did; the result of one that is kept is replaced while it says "begun" (BEGUN).
INSERT INTO asyncsched_activity (namespace, id, at, action, subject, "by", note, via, result, failed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, id) DO UPDATE SET result = excluded.result, failed = excluded.failed
WHERE asyncsched_activity.result = 'begun';

-- name: activity
-- The records of what people did, newest first.
SELECT id, at, action, subject, "by", note, via, result, failed FROM asyncsched_activity
WHERE namespace = :namespace{where} ORDER BY id DESC LIMIT :limit;

-- name: prune_activity
-- Drop the records that are too old.
DELETE FROM asyncsched_activity WHERE namespace = :namespace AND at < :horizon;
