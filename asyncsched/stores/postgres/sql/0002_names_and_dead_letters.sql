-- Columns take the names that the code has for them. Their contents stay.
ALTER TABLE asyncsched_ledger RENAME COLUMN signal TO work_version;
ALTER TABLE asyncsched_ledger RENAME COLUMN seats TO ordinals;
ALTER TABLE asyncsched_runs RENAME COLUMN asked TO cancel_requested;
ALTER TABLE asyncsched_runs RENAME COLUMN carried TO context_vars;
ALTER TABLE asyncsched_instances RENAME COLUMN seat TO ordinal;

-- Dead letters, newest first; their condition is that of rules/retention.
CREATE INDEX asyncsched_runs_dead ON asyncsched_runs (namespace, due, finished_at)
    WHERE finished_at IS NOT NULL AND state <> 'succeeded'
        AND (state IN ('failed', 'timed_out', 'lost') OR (state = 'cancelled' AND why = 'shutdown'));

-- Runs of one rank wait for a limit in the order in which they were made; without the id, in that of their place on disk.
DROP INDEX asyncsched_runs_waiting;
CREATE INDEX asyncsched_runs_waiting ON asyncsched_runs (namespace, waits_for, "rank", id)
    WHERE waits_for IS NOT NULL AND ready_at IS NULL;
