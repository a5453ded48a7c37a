-- name: poll
-- In one answer: how the ledger stands, then how far each instance's beats are. The newest row counts
-- as a signal, too: a run may come by a statement in somebody's own transaction.
SELECT -1, l.work_version || '.' || coalesce((SELECT max(rowid) FROM asyncsched_runs), 0), l.version, l.dropped
FROM asyncsched_ledger AS l WHERE l.namespace = :namespace
UNION ALL
SELECT i.incarnation, i.beat, i.ordinal, 0 FROM asyncsched_instances AS i WHERE i.namespace = :namespace;

-- name: beat
-- Say that an instance lives; no row means that it was declared dead.
UPDATE asyncsched_instances SET beat = beat + 1, beat_at = :now
WHERE namespace = :namespace AND incarnation = :incarnation;

-- name: alive
-- Whether an instance has not been declared dead, held fast until the end of the transaction.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation;

-- name: hold_instance
-- Hold an instance fast that is about to leave, after what it is still about.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation;
