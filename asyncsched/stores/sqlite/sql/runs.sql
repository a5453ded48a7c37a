-- name: lock_run
-- One run by its id, which is about to be written.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace AND r.id = :id;

-- name: levels
-- For each executor, the priorities of its pending runs, each with the earliest run that is ready and
-- the earliest run that is not: a few probes of an index, however many runs there are.
WITH RECURSIVE level(executor, priority) AS (
    SELECT e.value, (
        SELECT min(r.priority) FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.executor = e.value
            AND r.state = 'pending' AND r.ready_at IS NOT NULL
    ) FROM json_each(:executors) AS e
    UNION ALL
    SELECT level.executor, (
        SELECT min(r.priority) FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.executor = level.executor AND r.priority > level.priority
            AND r.state = 'pending' AND r.ready_at IS NOT NULL
    ) FROM level WHERE level.priority IS NOT NULL
)
SELECT level.executor, level.priority, (
    SELECT min(r.ready_at) FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.executor = level.executor AND r.priority = level.priority
        AND r.state = 'pending' AND r.ready_at <= :now
), (
    SELECT min(r.ready_at) FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.executor = level.executor AND r.priority = level.priority
        AND r.state = 'pending' AND r.ready_at > :now
) FROM level WHERE level.priority IS NOT NULL;

-- name: ready
-- The ready pending runs of one executor and priority, oldest first, each with whether its job or
-- schedule is paused.
SELECT {run},
    r.job IN (SELECT p.job FROM asyncsched_paused_jobs AS p WHERE p.namespace = :namespace),
    CASE r.origin WHEN 'schedule' THEN (
        SELECT s.paused FROM asyncsched_schedules AS s WHERE s.namespace = r.namespace AND s.id = r.schedule
    ) END
FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.executor = :executor AND r.priority = :priority
    AND r.state = 'pending' AND r.ready_at <= :now
    AND r.job IN (SELECT value FROM json_each(:jobs))
ORDER BY r.ready_at
LIMIT :most;

-- name: begin
-- Begin attempts: the instance becomes the runs' holder.
UPDATE asyncsched_runs
SET state = 'running', holder = :holder, attempt = attempt + 1, started_at = :now,
    late = coalesce(late, :now - due), ready_at = NULL, waits_for = NULL, cancel_requested = NULL
WHERE id IN (SELECT value FROM json_each(:runs));

-- name: park
-- Park a pending run until its schedule or job is resumed.
UPDATE asyncsched_runs SET waits_for = 'paused', ready_at = NULL WHERE id = ? AND state = 'pending';

-- name: wake_head
-- Let the first run in rank that waits for a limit try again at a moment.
UPDATE asyncsched_runs SET waits_for = :waits_for, ready_at = :at
WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = :key AND r.ready_at IS NULL
    ORDER BY r."rank" LIMIT 1
) RETURNING id;

-- name: live
-- The runs of origin "schedule" of some schedules that have no outcome.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.schedule IN (SELECT value FROM json_each(:schedules))
    AND r.origin = 'schedule' AND r.state IN ('pending', 'running');

-- name: slots_done
-- The slots, of those given, that have their run already.
SELECT json_extract(t.value, '$[0]') AS schedule, json_extract(t.value, '$[1]') AS slot
FROM json_each(:slots) AS t
WHERE EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = json_extract(t.value, '$[0]')
        AND r.slot = json_extract(t.value, '$[1]') AND r.origin = 'schedule'
);

-- name: succeed
-- End attempts of one instance that began at the same moment and have only their success to record.
UPDATE asyncsched_runs AS r
SET state = 'succeeded', why = '', finished_at = t.value, cancel_requested = NULL,
    held_key = CASE WHEN r.key_ttl > 0 THEN r.held_key END
FROM json_each(:ended) AS t
WHERE r.id = t.key AND r.state = 'running'
    AND r.holder = :holder AND r.attempt = :attempt AND r.started_at = :began;

-- name: note
-- Write the progress of a held run.
UPDATE asyncsched_runs SET progress = ? WHERE id = ? AND holder = ? AND attempt = ? AND started_at = ? AND state = 'running';

-- name: states
-- The states of the runs that callers wait for.
SELECT r.id, r.state, r.attempt, r.progress FROM asyncsched_runs AS r
WHERE r.id IN (SELECT value FROM json_each(:ids));

-- name: limits
-- The rows of some limits, which are about to be written.
SELECT l."key", l.used, l.theoretical, l.trying FROM asyncsched_limits AS l
WHERE l.namespace = :namespace AND l."key" IN (SELECT value FROM json_each(:keys)) ORDER BY l."key";

-- name: used_limits
-- The limits that runs hold, which are about to be counted again.
SELECT l."key", l.used FROM asyncsched_limits AS l
WHERE l.namespace = :namespace AND l.used <> 0 ORDER BY l."key";

-- name: runs_by_id
-- The runs of some ids that match, in no order.
SELECT {run} FROM json_each(:ids) AS one CROSS JOIN asyncsched_runs AS r ON r.id = one.value
WHERE r.namespace = :namespace{where};

-- name: where_finished_since
-- Runs that ended at a moment or after it. The plus keeps SQLite from the index by that time: it would read
-- all runs that ended since then and sort them, while a list in order of due times is at its limit long before.
+r.finished_at >= :finished_since;

-- name: where_states
-- Runs in one of several states.
r.state IN (SELECT value FROM json_each(:states));

-- name: where_tag
-- Runs with a tag.
EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = :tag);

-- name: from_tags
-- The index of tags, and each run of it by its id.
asyncsched_run_tags AS t CROSS JOIN asyncsched_runs AS r ON r.id = t.run;

-- name: branch
-- One of the branches that a list merges.
{select};

-- name: live_runs
-- The runs that are running, and the pending runs of schedules, by two small indexes: without the hints of
-- SQLite, the order would lead it through all runs.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.id IN (
    SELECT h.id FROM asyncsched_runs AS h INDEXED BY asyncsched_runs_held WHERE h.namespace = :namespace AND h.state = 'running'
    UNION
    SELECT l.id FROM asyncsched_runs AS l INDEXED BY asyncsched_runs_live
    WHERE l.namespace = :namespace AND l.origin = 'schedule' AND l.state IN ('pending', 'running')
)
ORDER BY r.due DESC, r.id DESC LIMIT :limit;
