-- name: schedules_by_id
-- Some schedules.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids));

-- name: lock_schedules
-- The same, about to be written.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids)) ORDER BY s.id;

-- name: succeeded
-- End the rows of failures of some schedules.
UPDATE asyncsched_schedules SET failures = 0
WHERE namespace = :namespace AND id IN (SELECT value FROM json_each(:ids)) AND failures > 0;
