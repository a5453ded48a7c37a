-- name: poll
-- In one answer: the versions of the ledger, then the beat of each instance. The newest row is part of
-- the work version, because a run may be added by a statement in a user's transaction.
SELECT -1, l.work_version || '.' || coalesce((SELECT max(rowid) FROM asyncsched_runs), 0), l.version, l.dropped
FROM asyncsched_ledger AS l WHERE l.namespace = :namespace
UNION ALL
SELECT i.incarnation, i.beat, i.ordinal, 0 FROM asyncsched_instances AS i WHERE i.namespace = :namespace;

-- name: beat
-- Record a heartbeat of an instance; no row means that the instance was declared dead.
UPDATE asyncsched_instances SET beat = beat + 1, beat_at = :now, lag = :lag
WHERE namespace = :namespace AND incarnation = :incarnation;

-- name: alive
-- Whether an instance has not been declared dead; its row stays locked until the end of the transaction.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation;

-- name: hold_instance
-- Lock the row of an instance that is about to leave, after the writes that it still does.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation;
