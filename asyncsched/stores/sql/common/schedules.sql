-- name: schedules
-- Some schedules, in order of id.
SELECT {schedule} FROM asyncsched_schedules AS s WHERE s.namespace = :namespace AND s.id > :after
ORDER BY s.id LIMIT :most;

-- name: schedules_since
-- Some of the schedules that have changed since a version, in order of version and id.
SELECT {schedule}, s.version FROM asyncsched_schedules AS s
WHERE s.namespace = :namespace AND (s.version, s.id) > (:version, :after)
ORDER BY s.version, s.id LIMIT :most;

-- name: schedule_ids
-- The ids of all schedules, in the order in which every transaction locks their rows.
SELECT s.id FROM asyncsched_schedules AS s WHERE s.namespace = :namespace ORDER BY s.id;

-- name: insert_schedule
-- Put a new schedule into the ledger.
INSERT INTO asyncsched_schedules (
    job, spec, anchor, cursor, next_slot, next_due, arguments, jitter, tags, fingerprint, declared,
    declared_by, orphaned, rescheduled, paused, paused_at, note, "by", revision, edition, edition_since,
    failures, created_at, max_runs, runs_made, version, namespace, id
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: update_schedule
-- Replace a schedule, if it is still at a revision.
UPDATE asyncsched_schedules SET
    job = ?, spec = ?, anchor = ?, cursor = ?, next_slot = ?, next_due = ?, arguments = ?, jitter = ?,
    tags = ?, fingerprint = ?, declared = ?, declared_by = ?, orphaned = ?, rescheduled = ?, paused = ?,
    paused_at = ?, note = ?, "by" = ?, revision = ?, edition = ?, edition_since = ?, failures = ?,
    created_at = ?, max_runs = ?, runs_made = ?, version = ?
WHERE namespace = ? AND id = ? AND revision = ?;

-- name: move_schedule
-- Move a schedule on: the instance whose write succeeds owns the firing.
UPDATE asyncsched_schedules SET cursor = ?, next_slot = ?, next_due = ?, runs_made = ?, revision = revision + 1
WHERE namespace = ? AND id = ? AND revision = ? AND paused = 0;

-- name: schedules_of_job
-- The ids of a job's schedules that are not declared in code.
SELECT s.id FROM asyncsched_schedules AS s WHERE s.namespace = :namespace AND s.job = :job AND s.declared = 0;

-- name: rename_schedules
-- Give a job's schedules that are not declared in code to another job.
UPDATE asyncsched_schedules SET job = :new, revision = revision + 1, version = :version
WHERE namespace = :namespace AND job = :old AND declared = 0;

-- name: rename_schedule
-- Give a declared schedule that has the name of its job another name for both, if no schedule has that.
UPDATE asyncsched_schedules SET id = :new, job = :new, revision = revision + 1, version = :version
WHERE namespace = :namespace AND id = :old AND job = :old AND declared = 1 AND NOT EXISTS (
    SELECT 1 FROM asyncsched_schedules AS o WHERE o.namespace = :namespace AND o.id = :new
);

-- name: rename_stretches
-- Give the stretches of a schedule to its new id.
UPDATE asyncsched_stretches SET schedule = :new WHERE namespace = :namespace AND schedule = :old;

-- name: remove_schedule
-- Remove a schedule.
DELETE FROM asyncsched_schedules WHERE namespace = :namespace AND id = :id;

-- name: failed
-- Count one more failure in a row.
UPDATE asyncsched_schedules SET failures = failures + 1, failed_run = ? WHERE namespace = ? AND id = ?;

-- name: pause_failing
-- Pause a schedule that has failed too often in a row.
UPDATE asyncsched_schedules
SET paused = 1, paused_at = :at, "by" = :by, note = :note, revision = :revision, version = :version
WHERE namespace = :namespace AND id = :id;

-- name: last_stretches
-- The newest stretch of a schedule.
SELECT t.schedule, t.first, t.last, t.count, t.reason, t.exact FROM asyncsched_stretches AS t
WHERE t.namespace = :namespace AND t.schedule = :schedule ORDER BY t.first DESC LIMIT 1;

-- name: insert_stretch
-- Write slots that get no run.
INSERT INTO asyncsched_stretches (schedule, last, count, reason, exact, namespace, first)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, schedule, first) DO UPDATE
SET last = excluded.last, count = excluded.count, reason = excluded.reason, exact = excluded.exact;

-- name: stretches
-- The stretches of a schedule that touch a time, oldest first.
SELECT t.schedule, t.first, t.last, t.count, t.reason, t.exact FROM asyncsched_stretches AS t
WHERE t.namespace = :namespace AND t.schedule = :schedule AND t.first <= :end AND t.last >= :start
ORDER BY t.first;

-- name: remove_stretches
-- Drop the stretches of a removed schedule: its slots can no longer be explained.
DELETE FROM asyncsched_stretches WHERE namespace = :namespace AND schedule = :id;

-- name: prune_stretches
-- Keep the newest stretches of a schedule.
DELETE FROM asyncsched_stretches WHERE namespace = ? AND schedule = ? AND first < (
    SELECT t.first FROM asyncsched_stretches AS t
    WHERE t.namespace = ? AND t.schedule = ? ORDER BY t.first DESC LIMIT 1 OFFSET ?
);

-- name: pause_job
-- Pause a job: none of its runs begins.
INSERT INTO asyncsched_paused_jobs (namespace, job, note, "by", since)
VALUES (:namespace, :job, :note, :by, :since)
ON CONFLICT (namespace, job) DO UPDATE SET note = excluded.note, "by" = excluded."by", since = excluded.since;

-- name: copy_pause
-- Pause a job as another one is paused.
INSERT INTO asyncsched_paused_jobs (namespace, job, note, "by", since)
SELECT p.namespace, CAST(:new AS text), p.note, p."by", p.since FROM asyncsched_paused_jobs AS p
WHERE p.namespace = :namespace AND p.job = :old
ON CONFLICT DO NOTHING;

-- name: resume_job
-- Resume a job: its runs begin again.
DELETE FROM asyncsched_paused_jobs WHERE namespace = :namespace AND job = :job;

-- name: paused_jobs
-- The paused jobs.
SELECT job, note, "by", since FROM asyncsched_paused_jobs WHERE namespace = :namespace;
