-- name: schedules_by_id
-- Some schedules.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids));

-- name: lock_schedules
-- The same, about to be written.
SELECT {schedule} FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND s.id IN (SELECT value FROM json_each(:ids)) ORDER BY s.id;
