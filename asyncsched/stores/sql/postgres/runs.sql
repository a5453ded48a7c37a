-- name: insert_run
-- Put a pending run into the ledger. Repeated after a lost answer it changes nothing; neither does
-- it where the slot, or the key, has its run already.
INSERT INTO asyncsched_runs (
    namespace, id, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, waits_for,
    arguments, "key", held_key, key_ttl, tags, permits, max_attempts, created_at, carried, state
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')
ON CONFLICT DO NOTHING;

-- name: insert_run_all
-- The same for many.
INSERT INTO asyncsched_runs (
    namespace, id, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, waits_for,
    arguments, "key", held_key, key_ttl, tags, permits, max_attempts, created_at, carried, state
) SELECT *, 'pending' FROM unnest(
    ?::text[], ?::uuid[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[],
    ?::bigint[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::text[],
    ?::bigint[], ?::bigint[], ?::text[]
) ON CONFLICT DO NOTHING;

-- name: run
-- One run by its id.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace AND r.id = :id;

-- name: lock_run
-- The same, about to be written.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace AND r.id = :id
FOR NO KEY UPDATE;

-- name: slot
-- The run of a slot's own.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.schedule = :schedule AND r.slot = :slot AND r.origin = 'schedule';

-- name: key_holder
-- The run that holds a key.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.job = :job AND r.held_key = :key;

-- name: drop_key
-- Take its key from a run whose time with it is over.
UPDATE asyncsched_runs SET held_key = NULL WHERE id = :id;

-- name: drop_old_key
-- Take a key from a run whose time with it is over.
UPDATE asyncsched_runs SET held_key = NULL
WHERE namespace = ? AND job = ? AND held_key = ? AND finished_at + key_ttl <= ?;

-- name: replace_run
-- Give a pending run another time, and its keys' newest arguments.
UPDATE asyncsched_runs
SET due = :due, ready_at = :due, "rank" = :rank, waits_for = NULL, arguments = :arguments,
    permits = :permits, priority = :priority, key_ttl = :key_ttl
WHERE id = :id AND state = 'pending';

-- name: move_waiting
-- Give a run that waits for the one before it another time; it goes on waiting.
UPDATE asyncsched_runs SET due = :due, "rank" = :rank WHERE id = :id AND state = 'pending';

-- name: finish_pending
-- End a run that has not begun.
UPDATE asyncsched_runs
SET state = 'cancelled', why = :why, finished_at = :now, ready_at = NULL, waits_for = NULL, held_key = NULL
WHERE id = :id AND state = 'pending';

-- name: ask
-- Ask the holder of a running run to cancel it.
UPDATE asyncsched_runs SET asked = :why WHERE id = :id AND state = 'running' AND asked IS NULL;

-- name: levels
-- Of each executor, the priorities that pending runs have, each with the earliest that is ready and
-- the earliest that is not: a few probes of an index, however many runs there are.
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
-- The pending runs of one executor and priority that are ready, oldest first, with whether their job
-- or schedule is paused.
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
-- Begin attempts: their instance is the runs' holder.
UPDATE asyncsched_runs
SET state = 'running', holder = :holder, attempt = attempt + 1, started_at = :now,
    late = coalesce(late, :now - due), ready_at = NULL, waits_for = NULL, asked = NULL
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:runs)::uuid));

-- name: wait_for
-- Have a pending run wait for something, out of the index of what is ready.
UPDATE asyncsched_runs SET waits_for = ?, ready_at = NULL WHERE id = ? AND state = 'pending';

-- name: park
-- Put a pending run aside until its schedule or job is resumed. Whoever resumes it at this moment
-- waits for us and wakes it, or has done so before, and then it is not put aside.
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
-- Let the first in rank of a limit's line try at a moment.
UPDATE asyncsched_runs SET waits_for = :waits_for, ready_at = :at
WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = :key AND r.ready_at IS NULL
    ORDER BY r."rank" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
) RETURNING id;

-- name: wake_schedule
-- Let the runs of a schedule that was resumed go on.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE namespace = :namespace AND waits_for = 'paused' AND ready_at IS NULL AND schedule = :schedule;

-- name: wake_job
-- Let the runs of a job that was resumed go on.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE namespace = :namespace AND waits_for = 'paused' AND ready_at IS NULL AND job = :job;

-- name: wake_chain
-- Let the next run of a schedule go on, if it waits and no live run is before it. The schedule's row
-- is held fast by whoever asks.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = ? AND r.schedule = ? AND r.origin = 'schedule' AND r.state IN ('pending', 'running')
    ORDER BY r.due, r.id LIMIT 1
) AND state = 'pending' AND waits_for = 'overlap';

-- name: live
-- The runs of some schedules' own that have no outcome.
SELECT {run} FROM json_array_elements_text(:schedules) AS one(id)
CROSS JOIN LATERAL (
    SELECT * FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = one.id
        AND r.origin = 'schedule' AND r.state IN ('pending', 'running')
    OFFSET 0
) AS r;

-- name: slots_done
-- Which of some slots have their run already.
SELECT t.value->>0, (t.value->>1)::bigint FROM json_array_elements(:slots) AS t(value)
WHERE EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = t.value->>0 AND r.slot = (t.value->>1)::bigint
        AND r.origin = 'schedule'
    OFFSET 0
);

-- name: record
-- End an attempt, if we are still the run's holder.
-- An attempt that was not spent has its number again: when it began tells them apart.
UPDATE asyncsched_runs
SET state = ?, why = ?, error = ?, result = ?, attempts = ?, progress = ?, attempt = ?, ready_at = ?,
    "rank" = ?, finished_at = ?, held_key = CASE WHEN ? THEN held_key END, asked = NULL
WHERE id = ? AND holder = ? AND attempt = ? AND started_at = ? AND state = 'running';

-- name: record_all
-- The same for many.
UPDATE asyncsched_runs AS r
SET state = t.state, why = t.why, error = t.error, result = t.result, attempts = t.attempts,
    progress = t.progress, attempt = t.spent, ready_at = t.ready_at, "rank" = t."rank", finished_at = t.finished_at,
    held_key = CASE WHEN t.keeps THEN r.held_key END, asked = NULL
FROM unnest(
    ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[],
    ?::bigint[], ?::boolean[], ?::uuid[], ?::bigint[], ?::bigint[], ?::bigint[]
) AS t(
    state, why, error, result, attempts, progress, spent, ready_at, "rank", finished_at, keeps, id, holder, attempt, began
)
-- By the primary key alone: the index of what is held is full of what was, until it is vacuumed.
WHERE r.id = t.id
    AND (r.holder, r.attempt, r.started_at, r.state) IS NOT DISTINCT FROM (t.holder, t.attempt, t.began, 'running');

-- name: succeed
-- End attempts of one instance that began at the same moment, and left nothing but that they succeeded.
UPDATE asyncsched_runs AS r
SET state = 'succeeded', why = '', finished_at = t.at::bigint, asked = NULL,
    held_key = CASE WHEN r.key_ttl > 0 THEN r.held_key END
FROM json_each_text(:ended) AS t(id, at)
WHERE r.id = t.id::uuid
    AND (r.holder, r.attempt, r.started_at, r.state) IS NOT DISTINCT FROM (:holder, :attempt, :began, 'running');

-- name: complete
-- Write that a held run has succeeded, in its job's own transaction; the record that follows keeps it.
UPDATE asyncsched_runs SET asked = ? WHERE id = ? AND holder = ? AND attempt = ? AND state = 'running';

-- name: fence
-- Take a run from a holder that is dead or has lost it.
UPDATE asyncsched_runs SET holder = 0 WHERE id = :id;

-- name: note
-- Write a held run's progress, unless its job holds the row fast in a transaction of its own.
UPDATE asyncsched_runs SET progress = ? WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.id = ? AND r.holder = ? AND r.attempt = ? AND r.started_at = ? AND r.state = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
);

-- name: refer
-- Write down the id that an engine elsewhere gave to a held run.
UPDATE asyncsched_runs SET reference = ? WHERE id = ? AND holder = ? AND attempt = ? AND started_at = ? AND state = 'running';

-- name: held
-- What an instance executes.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.holder = :holder AND r.state = 'running';

-- name: astray
-- What is held by no instance that lives.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.state = 'running' AND r.holder NOT IN (
    SELECT i.incarnation FROM asyncsched_instances AS i WHERE i.namespace = :namespace
) LIMIT 1000;

-- name: asked
-- Which runs of a holder it is to cancel, and why.
SELECT r.id, r.asked FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.holder = :holder AND r.state = 'running' AND r.asked IS NOT NULL;

-- name: states
-- How the runs that somebody waits for stand.
SELECT r.id, r.state, r.attempt, r.progress FROM json_array_elements_text(:ids) AS one(id)
JOIN asyncsched_runs AS r ON r.id = one.id::uuid;

-- name: limits
-- The rows of some limits, made where they are not there yet, and held fast in the order of their keys.
INSERT INTO asyncsched_limits AS l (namespace, "key")
SELECT :namespace, k.value FROM json_array_elements_text(:keys) AS k(value) ORDER BY k.value COLLATE "C"
ON CONFLICT (namespace, "key") DO UPDATE SET used = l.used
RETURNING l."key", l.used, l.theoretical, l.trying;

-- name: set_limit
-- Write how a limit stands.
INSERT INTO asyncsched_limits (namespace, "key", used, theoretical, trying) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (namespace, "key") DO UPDATE
SET used = excluded.used, theoretical = excluded.theoretical, trying = excluded.trying;

-- name: used_limits
-- The limits that somebody holds, about to be counted again.
SELECT l."key", l.used FROM asyncsched_limits AS l
WHERE l.namespace = :namespace AND l.used <> 0 ORDER BY l."key" COLLATE "C" FOR UPDATE;

-- name: limited
-- The running runs that hold a limit.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.state = 'running' AND r.holder > 0 AND r.permits IS NOT NULL;

-- name: recount_limit
-- Say anew how many hold a limit.
UPDATE asyncsched_limits SET used = :used WHERE namespace = :namespace AND "key" = :key;

-- name: sweep_limits
-- Forget limits that say nothing any more.
DELETE FROM asyncsched_limits
WHERE namespace = :namespace AND used = 0 AND theoretical <= :now AND trying IS NULL AND NOT EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = asyncsched_limits."key" AND r.ready_at IS NULL
);

-- name: runs
-- The runs that match, newest due first.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace{where}
ORDER BY r.due DESC, r.id DESC LIMIT :limit;

-- name: where_states
-- One of several states.
r.state = ANY(ARRAY(SELECT json_array_elements_text(:states)));

-- name: where_tag
-- With a tag.
jsonb_exists(r.tags::jsonb, :tag);

-- name: oldest_kept
-- When the run ended from which on the history's number of runs keeps all.
SELECT r.finished_at FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.finished_at IS NOT NULL
ORDER BY r.finished_at DESC LIMIT 1 OFFSET :count;

-- name: prune_upto
-- Where the next portion of old runs ends.
SELECT r.finished_at FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.finished_at > :after AND r.finished_at <= :horizon
ORDER BY r.finished_at LIMIT 1 OFFSET :most;

-- name: prune
-- Drop the finished runs of a portion, but not the last 20 of a schedule, nor its last failure, nor
-- dead letters that ended after the other horizon.
DELETE FROM asyncsched_runs WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.finished_at > :after AND r.finished_at <= :upto
        AND NOT (
            r.finished_at >= :dead_horizon
            AND (r.state IN ('failed', 'timed_out', 'lost') OR (r.state = 'cancelled' AND r.why = 'shutdown'))
        )
        AND NOT EXISTS (
            SELECT 1 FROM asyncsched_schedules AS s
            WHERE s.namespace = r.namespace AND s.id = r.schedule AND (
                s.failed_run = r.id
                OR (
                    SELECT count(*) FROM (
                        SELECT 1 FROM asyncsched_runs AS x
                        WHERE x.namespace = r.namespace AND x.schedule = r.schedule
                            AND x.finished_at > r.finished_at LIMIT :kept
                    ) AS newer
                ) < :kept
            )
        )
);
