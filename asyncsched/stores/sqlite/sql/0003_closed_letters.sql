-- A dead letter is closed by the run that came of it, which names the letter, or by the note of its dismissal.
ALTER TABLE asyncsched_runs ADD COLUMN requeue_of TEXT;
ALTER TABLE asyncsched_runs ADD COLUMN requeued_as TEXT;
ALTER TABLE asyncsched_runs ADD COLUMN dismissed TEXT;

-- Open dead letters only; the condition is that of rules/retention.
DROP INDEX asyncsched_runs_dead;
CREATE INDEX asyncsched_runs_dead ON asyncsched_runs (namespace, due, finished_at)
    WHERE finished_at IS NOT NULL AND state <> 'succeeded'
        AND (state IN ('failed', 'timed_out', 'lost') OR (state = 'cancelled' AND why = 'shutdown'))
        AND requeued_as IS NULL AND dismissed IS NULL;
