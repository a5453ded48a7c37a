-- name: poll
-- In one answer: how the ledger stands, with whether there is something for an instance to do now (by
-- the server's own time where none is given), then how far each instance's beats are.
WITH RECURSIVE level(executor, priority) AS (
    SELECT e.value, (
        SELECT min(r.priority) FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.executor = e.value
            AND r.state = 'pending' AND r.ready_at IS NOT NULL
    ) FROM json_array_elements_text(:executors) AS e(value)
    UNION ALL
    SELECT level.executor, (
        SELECT min(r.priority) FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.executor = level.executor AND r.priority > level.priority
            AND r.state = 'pending' AND r.ready_at IS NOT NULL
    ) FROM level WHERE level.priority IS NOT NULL
)
SELECT -1::bigint, CASE WHEN EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.holder = :holder AND r.state = 'running' AND r.cancel_requested IS NOT NULL
) OR (
    SELECT bool_or((
        SELECT r.ready_at FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.executor = level.executor AND r.priority = level.priority
            AND r.state = 'pending'
            AND r.ready_at <= coalesce(:now, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
            AND r.job = ANY(ARRAY(SELECT json_array_elements_text(:jobs)))
        ORDER BY r.ready_at LIMIT 1
    ) IS NOT NULL) FROM level WHERE level.priority IS NOT NULL
) THEN 1 ELSE 0 END, l.version, l.dropped
FROM asyncsched_ledger AS l WHERE l.namespace = :namespace
UNION ALL
SELECT i.incarnation, i.beat, i.ordinal, 0 FROM asyncsched_instances AS i WHERE i.namespace = :namespace;

-- name: beat
-- Say that an instance lives, and hear the server's time; no row means that it was declared dead.
UPDATE asyncsched_instances SET beat = beat + 1, beat_at = :now
WHERE namespace = :namespace AND incarnation = :incarnation
RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: alive
-- Whether an instance has not been declared dead, held fast until the end of the transaction.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation
FOR KEY SHARE;

-- name: hold_instance
-- Hold an instance fast that is about to leave, after what it is still about.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation
FOR UPDATE;
