-- name: schedules_by_id
-- The schedules of some ids.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids));

-- name: lock_schedules
-- The schedules of some ids, which are about to be written.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids)) ORDER BY s.id;

-- name: succeeded
-- Reset the number of failures in a row of some schedules.
UPDATE asyncsched_schedules SET failures = 0
WHERE namespace = :namespace AND id IN (SELECT value FROM json_each(:ids)) AND failures > 0;
