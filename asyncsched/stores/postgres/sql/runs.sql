-- name: insert_run_all
-- Insert many pending runs, as insert_run does one.
INSERT INTO asyncsched_runs (
    namespace, id, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, waits_for,
    arguments, "key", held_key, key_ttl, tags, permits, max_attempts, context_vars, state
) SELECT
    t.namespace, t.id, t.job, t.due, t.executor, t.schedule, t.origin, t.slot, t.ready_at, t."rank", t.priority, t.waits_for,
    t.arguments, t."key", t.held_key, t.key_ttl, t.tags, t.permits, t.max_attempts, t.context_vars, 'pending'
FROM unnest(
    ?::text[], ?::uuid[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[],
    ?::bigint[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::text[],
    ?::bigint[], ?::text[]
) AS t(
    namespace, id, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, waits_for,
    arguments, "key", held_key, key_ttl, tags, permits, max_attempts, context_vars
) ON CONFLICT DO NOTHING;

-- name: lock_run
-- One run by its id, which is about to be written.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace AND r.id = :id
FOR NO KEY UPDATE;

-- name: levels
-- For each executor, the priorities of its pending runs, each with the earliest run that is ready and
-- the earliest run that is not: a few probes of an index, however many runs there are.
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
    AND r.job = ANY(ARRAY(SELECT json_array_elements_text(:jobs)))
ORDER BY r.ready_at
LIMIT :most
FOR NO KEY UPDATE SKIP LOCKED;

-- name: begin
-- Begin attempts: the instance becomes the runs' holder.
UPDATE asyncsched_runs
SET state = 'running', holder = :holder, attempt = attempt + 1, started_at = :now,
    late = coalesce(late, :now - due), ready_at = NULL, waits_for = NULL, cancel_requested = NULL
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:runs)::uuid));

-- name: park
-- Park a pending run until its schedule or job is resumed. A transaction that resumes it at this moment
-- waits for this one and wakes the run, or was committed before, and then the run is not parked.
UPDATE asyncsched_runs AS r SET waits_for = 'paused', ready_at = NULL
WHERE r.id = ? AND r.state = 'pending' AND (
    EXISTS (
        SELECT 1 FROM asyncsched_paused_jobs AS p
        WHERE p.namespace = r.namespace AND p.job = r.job FOR SHARE
    ) OR EXISTS (
        SELECT 1 FROM asyncsched_schedules AS s
        WHERE s.namespace = r.namespace AND s.id = r.schedule AND s.paused = 1 AND r.origin = 'schedule'
        FOR SHARE OF s
    )
);

-- name: wake_head
-- Let the first run in rank that waits for a limit try again at a moment.
UPDATE asyncsched_runs SET waits_for = :waits_for, ready_at = :at
WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = :key AND r.ready_at IS NULL
    ORDER BY r."rank", r.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
) RETURNING id;

-- name: wake_chain_all
-- Wake the next run of many schedules, as wake_chain does for one.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE id = ANY(ARRAY(
    SELECT (
        SELECT r.id FROM asyncsched_runs AS r
        WHERE r.namespace = t.namespace AND r.schedule = t.schedule AND r.origin = 'schedule'
            AND r.state IN ('pending', 'running')
        ORDER BY r.due, r.id LIMIT 1
    ) FROM unnest(?::text[], ?::text[]) AS t(namespace, schedule)
)) AND state = 'pending' AND waits_for = 'overlap';

-- name: live
-- The runs of origin "schedule" of some schedules that have no outcome.
SELECT {run} FROM json_array_elements_text(:schedules) AS one(id)
CROSS JOIN LATERAL (
    SELECT * FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = one.id
        AND r.origin = 'schedule' AND r.state IN ('pending', 'running')
    OFFSET 0
) AS r;

-- name: slots_done
-- The slots, of those given, that have their run already.
SELECT t.value->>0, (t.value->>1)::bigint FROM json_array_elements(:slots) AS t(value)
WHERE EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = t.value->>0 AND r.slot = (t.value->>1)::bigint
        AND r.origin = 'schedule'
    OFFSET 0
);

-- name: record_all
-- End many attempts, as record does one.
UPDATE asyncsched_runs AS r
SET state = t.state, why = t.why, error = t.error, result = t.result, attempts = t.attempts,
    progress = t.progress, reference = t.reference, attempt = t.spent, ready_at = t.ready_at, "rank" = t."rank",
    started_at = t.started_at, late = t.late, finished_at = t.finished_at,
    held_key = CASE WHEN t.keeps THEN r.held_key END, cancel_requested = NULL
FROM unnest(
    ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[],
    ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::boolean[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[]
) AS t(
    state, why, error, result, attempts, progress, reference, spent, ready_at, "rank", started_at, late, finished_at, keeps,
    id, holder, attempt, began
)
-- By the primary key alone: the index of held runs is full of runs that were held, until a vacuum. And by a probe for
-- each id: the planner takes a condition on an expression for one that few rows meet. Without it, a plan made while the
-- table is small reads all of the key, and stays when the table grows.
WHERE length(t.id) = 32 AND r.id = t.id::uuid
    AND (r.holder, r.attempt, r.started_at, r.state) IS NOT DISTINCT FROM (t.holder, t.attempt, t.began, 'running');

-- name: succeed
-- End attempts of one instance that began at the same moment and have only their success to record.
UPDATE asyncsched_runs AS r
SET state = 'succeeded', why = '', finished_at = t.at::bigint, cancel_requested = NULL,
    held_key = CASE WHEN r.key_ttl > 0 THEN r.held_key END
FROM json_each_text(:ended) AS t(id, at)
-- A probe of the key for each id, as in record_all.
WHERE length(t.id) = 32 AND r.id = t.id::uuid
    AND (r.holder, r.attempt, r.started_at, r.state) IS NOT DISTINCT FROM (:holder, :attempt, :began, 'running');

-- name: note
-- Write the progress of a held run, unless its job has locked the row in another transaction.
UPDATE asyncsched_runs SET progress = ? WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.id = ? AND r.holder = ? AND r.attempt = ? AND r.started_at = ? AND r.state = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
);

-- name: states
-- The states of the runs that callers wait for, each by a probe of the key, as in record_all.
SELECT r.id, r.state, r.attempt, r.progress FROM json_array_elements_text(:ids) AS one(id)
JOIN asyncsched_runs AS r ON length(one.id) = 32 AND r.id = one.id::uuid;

-- name: limits
-- The rows of some limits, inserted if they are missing, and locked in the order of their keys.
INSERT INTO asyncsched_limits AS l (namespace, "key")
SELECT :namespace, k.value FROM json_array_elements_text(:keys) AS k(value) ORDER BY k.value COLLATE "C"
ON CONFLICT (namespace, "key") DO UPDATE SET used = l.used
RETURNING l."key", l.used, l.theoretical, l.trying;

-- name: locked_limits
-- The limits, of those given, that another transaction has locked; the others are locked by this one.
WITH free AS MATERIALIZED (
    SELECT l."key" FROM asyncsched_limits AS l
    WHERE l.namespace = :namespace AND l."key" = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
    FOR UPDATE SKIP LOCKED
)
SELECT l."key" FROM asyncsched_limits AS l
WHERE l.namespace = :namespace AND l."key" = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
    AND l."key" NOT IN (SELECT free."key" FROM free);

-- name: locked_runs
-- The runs, of those given, that another transaction has locked; the others are locked by this one.
WITH free AS MATERIALIZED (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)::uuid)) AND r.namespace = :namespace
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT r.id FROM asyncsched_runs AS r
WHERE r.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)::uuid)) AND r.namespace = :namespace
    AND r.id NOT IN (SELECT free.id FROM free);

-- name: used_limits
-- The limits that runs hold, which are about to be counted again.
SELECT l."key", l.used FROM asyncsched_limits AS l
WHERE l.namespace = :namespace AND l.used <> 0 ORDER BY l."key" COLLATE "C" FOR UPDATE;

-- name: runs_by_id
-- The runs of some ids that match, in no order.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)::uuid)) AND r.namespace = :namespace{where};

-- name: where_finished_since
-- Runs that ended at a moment or after it.
r.finished_at >= :finished_since;

-- name: where_states
-- Runs in one of several states.
r.state = ANY(ARRAY(SELECT json_array_elements_text(:states)));

-- name: where_tag
-- Runs with a tag.
jsonb_exists(r.tags::jsonb, :tag);

-- name: from_tags
-- The index of tags, and each run of it by its id. OFFSET 0 keeps the planner from reading all runs instead.
asyncsched_run_tags AS t CROSS JOIN LATERAL (SELECT * FROM asyncsched_runs WHERE id = t.run OFFSET 0) AS r;

-- name: branch
-- One of the branches that a list merges. The planner sees the order of its index only with its own limit.
({select} ORDER BY 3 DESC, 1 DESC LIMIT :limit);

-- name: live_runs
-- The runs that are running, and the pending runs of schedules, by two small indexes: without the hints of
-- SQLite, the order would lead it through all runs.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.id IN (
    SELECT h.id FROM asyncsched_runs AS h WHERE h.namespace = :namespace AND h.state = 'running'
    UNION
    SELECT l.id FROM asyncsched_runs AS l
    WHERE l.namespace = :namespace AND l.origin = 'schedule' AND l.state IN ('pending', 'running')
)
ORDER BY r.due DESC, r.id DESC LIMIT :limit;
