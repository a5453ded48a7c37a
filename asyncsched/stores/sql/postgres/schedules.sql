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
