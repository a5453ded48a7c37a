-- name: schedules_by_id
-- The schedules of some ids.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)));

-- name: lock_schedules
-- The schedules of some ids, which are about to be written.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
ORDER BY s.id FOR NO KEY UPDATE OF s;

-- name: hold_schedules
-- Lock schedules until the end of the transaction, in the order of their ids.
SELECT 1 FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
ORDER BY s.id FOR NO KEY UPDATE OF s;

-- name: locked_schedules
-- The schedules, of those given, that another transaction has locked; the others are locked by this one.
WITH free AS MATERIALIZED (
    SELECT s.id FROM asyncsched_schedules AS s
    WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT s.id FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
    AND s.id NOT IN (SELECT free.id FROM free);

-- name: succeeded
-- Reset the number of failures in a row of some schedules.
UPDATE asyncsched_schedules SET failures = 0
WHERE namespace = :namespace AND id = ANY(ARRAY(SELECT json_array_elements_text(:ids))) AND failures > 0;

-- name: move_schedule_all
-- Move many schedules, as move_schedule does one. The values of a row are found by its position in the
-- arrays, so that no plan can begin with the table.
UPDATE asyncsched_schedules AS s
SET cursor = t.cursor[array_position(t.id, s.id)], next_slot = t.next_slot[array_position(t.id, s.id)],
    next_due = t.next_due[array_position(t.id, s.id)], runs_made = t.runs_made[array_position(t.id, s.id)],
    revision = s.revision + 1
FROM (
    SELECT ?::bigint[] AS cursor, ?::bigint[] AS next_slot, ?::bigint[] AS next_due,
        ?::bigint[] AS runs_made, ?::text[] COLLATE "C" AS namespace, ?::text[] COLLATE "C" AS id, ?::bigint[] AS revision
) AS t
WHERE s.namespace = t.namespace[1] AND s.id = ANY(t.id) AND s.paused = 0
    AND s.revision = t.revision[array_position(t.id, s.id)];
