-- name: announce
-- Notify other instances that there may be work.
UPDATE asyncsched_ledger SET work_version = work_version + 1 WHERE namespace = :namespace;

-- name: version
-- Number a change of schedules.
UPDATE asyncsched_ledger SET version = version + 1 WHERE namespace = :namespace RETURNING version;

-- name: dropped
-- Record the version at which schedules were last removed.
UPDATE asyncsched_ledger SET dropped = version WHERE namespace = :namespace;

-- name: ordinal
-- Number an instance in the order of starts.
UPDATE asyncsched_ledger SET ordinals = ordinals + 1 WHERE namespace = :namespace RETURNING ordinals;

-- name: instances
-- The living instances, oldest first.
SELECT i.incarnation, i.beat, i.ordinal, i.host, i.pid, i.version, i.role, i.jobs, i.schedules, i.started_at, i.beat_at,
    i.lag
FROM asyncsched_instances AS i WHERE i.namespace = :namespace ORDER BY i.ordinal;

-- name: join
-- Insert the row of a living instance. Repeated after a lost answer, the statement changes nothing.
INSERT INTO asyncsched_instances (
    namespace, incarnation, beat, ordinal, host, pid, version, role, jobs, schedules, started_at, beat_at
) VALUES (
    :namespace, :incarnation, 1, :ordinal, :host, :pid, :version, :role, :jobs, :schedules, :started_at, :now
) ON CONFLICT DO NOTHING;

-- name: declare_dead
-- Declare an instance dead, whose beat has stood still.
DELETE FROM asyncsched_instances
WHERE namespace = :namespace AND incarnation = :incarnation AND beat = :beat;

-- name: leave
-- Remove the row of an instance that ends.
DELETE FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation;
