-- name: schedules_by_id
-- Some schedules.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)));

-- name: lock_schedules
-- The same, about to be written.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
ORDER BY s.id FOR NO KEY UPDATE OF s;

-- name: hold_schedules
-- Hold schedules fast until the end of the transaction, in the order of their ids.
SELECT 1 FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id = ANY(ARRAY(SELECT json_array_elements_text(:ids)))
ORDER BY s.id FOR NO KEY UPDATE OF s;

-- name: succeeded
-- End the rows of failures of some schedules.
UPDATE asyncsched_schedules SET failures = 0
WHERE namespace = :namespace AND id = ANY(ARRAY(SELECT json_array_elements_text(:ids))) AND failures > 0;

-- name: move_schedule_all
-- The same for many. What belongs to a row is looked up by its place, so that no plan can begin with the table.
UPDATE asyncsched_schedules AS s
SET cursor = t.cursor[array_position(t.id, s.id)], next_slot = t.next_slot[array_position(t.id, s.id)],
    next_due = t.next_due[array_position(t.id, s.id)], revision = s.revision + 1
FROM (
    SELECT ?::bigint[] AS cursor, ?::bigint[] AS next_slot, ?::bigint[] AS next_due,
        ?::text[] COLLATE "C" AS namespace, ?::text[] COLLATE "C" AS id, ?::bigint[] AS revision
) AS t
WHERE s.namespace = t.namespace[1] AND s.id = ANY(t.id) AND s.paused = 0
    AND s.revision = t.revision[array_position(t.id, s.id)];
