-- name: insert_run
-- Put a pending run into the ledger. Repeated after a lost answer, the statement changes nothing; the same
-- holds if the slot, or the key, has a run already.
INSERT INTO asyncsched_runs (
    namespace, id, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, waits_for,
    arguments, "key", held_key, key_ttl, tags, permits, max_attempts, context_vars, state
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')
ON CONFLICT DO NOTHING;

-- name: run
-- One run by its id.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace AND r.id = :id;

-- name: key_holder
-- The run that holds a key.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.job = :job AND r.held_key = :key;

-- name: key_holder_in
-- The run that holds a key, as the user's connection sees it.
SELECT CAST(id AS text), arguments FROM asyncsched_runs WHERE namespace = ? AND job = ? AND held_key = ?;

-- name: drop_key
-- Free the key of a run, by the run's id: after key_ttl, or for the run that its own code adds.
UPDATE asyncsched_runs SET held_key = NULL WHERE id = :id;

-- name: drop_old_key
-- Free a key, by the key, after the key_ttl of its finished run.
UPDATE asyncsched_runs SET held_key = NULL
WHERE namespace = ? AND job = ? AND held_key = ? AND finished_at + key_ttl <= ?;

-- name: pass_key
-- Free the key of a running run for the run that its own code adds.
UPDATE asyncsched_runs SET held_key = NULL WHERE id = ? AND held_key = ? AND state = 'running';

-- name: replace_run
-- Give a pending run another time, and the newest arguments of its key.
UPDATE asyncsched_runs
SET due = :due, ready_at = :ready_at, "rank" = :rank, waits_for = :waits_for, arguments = :arguments,
    permits = :permits, priority = :priority, key_ttl = :key_ttl
WHERE id = :id AND state = 'pending';

-- name: close_letter
-- Close a dead letter by the run that came of it, or by a note.
UPDATE asyncsched_runs SET requeued_as = :run, dismissed = :note WHERE id = :id;

-- name: name_letter
-- Write into a run of which dead letter it came.
UPDATE asyncsched_runs SET requeue_of = :letter WHERE id = :id;

-- name: job_names
-- The jobs that have runs, beside running ones: one probe of an index for each.
WITH RECURSIVE names(job) AS (
    SELECT min(r.job) FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.job > '' AND r.state <> 'running'
    UNION ALL
    SELECT (
        SELECT min(r.job) FROM asyncsched_runs AS r
        WHERE r.namespace = :namespace AND r.job > names.job AND r.state <> 'running'
    ) FROM names WHERE names.job IS NOT NULL
)
SELECT names.job FROM names WHERE names.job IS NOT NULL;

-- name: rename_runs
-- Give some pending runs of a job to another job, each with its key if no run of that job holds it. The condition
-- that they are not running selects the index of a job's runs.
UPDATE asyncsched_runs SET job = :new, held_key = CASE WHEN NOT EXISTS (
    SELECT 1 FROM asyncsched_runs AS o
    WHERE o.namespace = :namespace AND o.job = :new AND o.held_key = asyncsched_runs.held_key
) THEN held_key END
WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.job = :old AND r.state = 'pending' AND r.state <> 'running'
    LIMIT :most
) AND state = 'pending';

-- name: rename_live_runs
-- Give the live runs of a schedule's own to its new id, but for a slot that has a run there.
UPDATE asyncsched_runs SET schedule = :new
WHERE namespace = :namespace AND schedule = :old AND origin = 'schedule' AND state IN ('pending', 'running')
AND NOT EXISTS (
    SELECT 1 FROM asyncsched_runs AS o WHERE o.namespace = :namespace AND o.schedule = :new
    AND o.slot = asyncsched_runs.slot AND o.origin = 'schedule'
);

-- name: rename_past_runs
-- Give some of the runs of a schedule to its new id, as rename_live_runs does.
UPDATE asyncsched_runs SET schedule = :new
WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = :old AND r.state <> 'running'
    AND (r.origin <> 'schedule' OR NOT EXISTS (
        SELECT 1 FROM asyncsched_runs AS o WHERE o.namespace = :namespace AND o.schedule = :new
        AND o.slot = r.slot AND o.origin = 'schedule'
    ))
    LIMIT :most
) AND state <> 'running';

-- name: finish_pending
-- End a run that has not begun.
UPDATE asyncsched_runs
SET state = 'cancelled', why = :why, finished_at = :now, ready_at = NULL, waits_for = NULL, held_key = NULL
WHERE id = :id AND state = 'pending';

-- name: request_cancel
-- Ask the holder of a running run to cancel it.
UPDATE asyncsched_runs SET cancel_requested = :why WHERE id = :id AND state = 'running' AND cancel_requested IS NULL;

-- name: wait_for
-- Make a pending run wait for a limit, a pause or an overlap, out of the index of ready runs.
UPDATE asyncsched_runs SET waits_for = ?, ready_at = NULL WHERE id = ? AND state = 'pending';

-- name: wake
-- Let some runs that wait for a resume go on, of a job or of a schedule. A run whose job or schedule is still, or
-- again, paused keeps waiting: the claim would only park it once more.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = 'paused' AND r.ready_at IS NULL AND r."rank" >= :first
        AND (r.job = :job OR r.schedule = :schedule)
        AND NOT EXISTS (
            SELECT 1 FROM asyncsched_paused_jobs AS p WHERE p.namespace = r.namespace AND p.job = r.job
        ) AND NOT EXISTS (
            SELECT 1 FROM asyncsched_schedules AS s
            WHERE s.namespace = r.namespace AND s.id = r.schedule AND s.paused = 1 AND r.origin = 'schedule'
        )
    ORDER BY r."rank" LIMIT :most
) AND waits_for = 'paused'
RETURNING "rank";

-- name: strays
-- The jobs of runs that wait for a resume but are not paused: the instance that resumed them ended on the way.
SELECT DISTINCT r.job FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.waits_for = 'paused' AND r.ready_at IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM asyncsched_paused_jobs AS p WHERE p.namespace = r.namespace AND p.job = r.job
    ) AND NOT EXISTS (
        SELECT 1 FROM asyncsched_schedules AS s
        WHERE s.namespace = r.namespace AND s.id = r.schedule AND s.paused = 1 AND r.origin = 'schedule'
    );

-- name: wake_chain
-- Let the next run of a schedule go on, if it waits and no live run is before it. The transaction holds the
-- lock of the schedule's row.
UPDATE asyncsched_runs SET waits_for = NULL, ready_at = "rank" + priority * 60000000
WHERE id = (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = ? AND r.schedule = ? AND r.origin = 'schedule' AND r.state IN ('pending', 'running')
    ORDER BY r.due, r.id LIMIT 1
) AND state = 'pending' AND waits_for = 'overlap';

-- name: record
-- End an attempt, if the caller is still the run's holder.
-- An attempt that was not spent gives its number to the next one: started_at tells the two apart.
UPDATE asyncsched_runs
SET state = ?, why = ?, error = ?, result = ?, attempts = ?, progress = ?, reference = ?, attempt = ?, ready_at = ?,
    "rank" = ?, started_at = ?, late = ?, finished_at = ?, held_key = CASE WHEN ? THEN held_key END,
    cancel_requested = NULL
WHERE id = ? AND holder = ? AND attempt = ? AND started_at = ? AND state = 'running';

-- name: complete
-- Write that a held run has succeeded, in its job's own transaction; the record that follows keeps the success.
UPDATE asyncsched_runs SET cancel_requested = ? WHERE id = ? AND holder = ? AND attempt = ? AND state = 'running';

-- name: fence
-- Take a run from a holder that is dead or never heard of it.
UPDATE asyncsched_runs SET holder = 0 WHERE id = :id;

-- name: refer
-- Write the id that an external engine gave to a held run.
UPDATE asyncsched_runs SET reference = ? WHERE id = ? AND holder = ? AND attempt = ? AND started_at = ? AND state = 'running';

-- name: held
-- The running runs that an instance holds.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.holder = :holder AND r.state = 'running';

-- name: astray
-- The running runs whose holder is no living instance. No holder is below zero: the condition selects the index
-- of held runs.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.state = 'running' AND r.holder >= 0 AND r.holder NOT IN (
    SELECT i.incarnation FROM asyncsched_instances AS i WHERE i.namespace = :namespace
) LIMIT 1000;

-- name: cancel_requests
-- The runs that a holder is requested to cancel, each with the reason.
SELECT r.id, r.cancel_requested FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.holder = :holder AND r.state = 'running' AND r.cancel_requested IS NOT NULL;

-- name: set_limit
-- Write the state of a limit.
INSERT INTO asyncsched_limits (namespace, "key", used, theoretical, trying) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (namespace, "key") DO UPDATE
SET used = excluded.used, theoretical = excluded.theoretical, trying = excluded.trying;

-- name: limited
-- The running runs that hold a limit.
SELECT {run} FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.state = 'running' AND r.holder > 0 AND r.permits IS NOT NULL;

-- name: recount_limit
-- Correct the number of runs that hold a limit.
UPDATE asyncsched_limits SET used = :used WHERE namespace = :namespace AND "key" = :key;

-- name: sweep_limits
-- Drop limits that neither hold nor delay a run.
DELETE FROM asyncsched_limits
WHERE namespace = :namespace AND used = 0 AND theoretical <= :now AND trying IS NULL AND NOT EXISTS (
    SELECT 1 FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.waits_for = asyncsched_limits."key" AND r.ready_at IS NULL
);

-- name: few_runs
-- The runs that match, in no order: for a query by id, or for a slot's own run.
SELECT {run} FROM asyncsched_runs AS r WHERE r.namespace = :namespace{where};

-- name: where_dead_letter
-- The condition of a dead letter, worded as in the index of dead letters.
{dead_letter};

-- name: oldest_kept
-- The moment the oldest run ended that the history's number of runs still keeps.
SELECT r.finished_at FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.finished_at IS NOT NULL
ORDER BY r.finished_at DESC LIMIT 1 OFFSET :count;

-- name: prune_upto
-- The end of the next portion of old runs.
SELECT r.finished_at FROM asyncsched_runs AS r
WHERE r.namespace = :namespace AND r.finished_at > :after AND r.finished_at <= :horizon
ORDER BY r.finished_at LIMIT 1 OFFSET :most;

-- name: forget_runs
-- Drop a portion of the finished runs of a schedule; those with a key stay, since they answer for it.
DELETE FROM asyncsched_runs WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.schedule = :schedule AND r.finished_at <= :upto AND r."key" IS NULL
    LIMIT :most
);

-- name: prune
-- Drop the finished runs of a portion, except the last 20 of a schedule, its last failure, and dead letters
-- that ended at or after their horizon.
DELETE FROM asyncsched_runs WHERE id IN (
    SELECT r.id FROM asyncsched_runs AS r
    WHERE r.namespace = :namespace AND r.finished_at > :after AND r.finished_at <= :upto
        AND NOT (r.finished_at >= :dead_horizon AND {dead_letter})
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
