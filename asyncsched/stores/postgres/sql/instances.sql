-- name: poll
-- In one answer: the versions of the ledger, with whether an instance has work now (by the server's time,
-- if none is given), then the beat of each instance.
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
-- Record a heartbeat of an instance, and return the server's time; no row means that the instance was
-- declared dead.
UPDATE asyncsched_instances SET beat = beat + 1, beat_at = :now, lag = :lag
WHERE namespace = :namespace AND incarnation = :incarnation
RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: alive
-- Whether an instance has not been declared dead; its row stays locked until the end of the transaction.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation
FOR KEY SHARE;

-- name: hold_instance
-- Lock the row of an instance that is about to leave, after the writes that it still does.
SELECT 1 FROM asyncsched_instances WHERE namespace = :namespace AND incarnation = :incarnation
FOR UPDATE;

-- name: open_transactions
-- How many transactions of strangers have written runs, and are open for so many seconds.
SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.relation = 'asyncsched_runs'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
    AND a.xact_start <= clock_timestamp() - make_interval(secs => :seconds)
    AND a.application_name NOT LIKE 'asyncsched %%';

-- name: end_cut_off
-- End the connections of instances that fell silent in a transaction so many seconds ago. The server's own timeouts do
-- not: inside a pipeline no statement is under way, and the session is not idle, even where it is listed as idle.
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.usename = current_user AND a.application_name LIKE 'asyncsched %%'
    AND a.xact_start IS NOT NULL AND a.wait_event IN ('ClientRead', 'ClientWrite')
    AND a.state_change <= clock_timestamp() - make_interval(secs => :seconds);
