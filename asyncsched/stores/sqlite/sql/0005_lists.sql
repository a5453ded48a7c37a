-- Lists, newest due first, by each filter. Running runs are left out: they are few, and read by their holder.
DROP INDEX asyncsched_runs_due;
CREATE INDEX asyncsched_runs_state ON asyncsched_runs (namespace, state, origin, due, id)
    WHERE state <> 'running';
CREATE INDEX asyncsched_runs_schedule ON asyncsched_runs (namespace, schedule, state, origin, due, id)
    WHERE schedule IS NOT NULL AND state <> 'running';
CREATE INDEX asyncsched_runs_keyed ON asyncsched_runs (namespace, "key", state, origin, due, id)
    WHERE "key" IS NOT NULL AND state <> 'running';

-- Dead letters, newest first, of all, of a job and of a schedule; their condition is that of rules/retention.
DROP INDEX asyncsched_runs_dead;
CREATE INDEX asyncsched_runs_dead ON asyncsched_runs (namespace, due, id, finished_at)
    WHERE finished_at IS NOT NULL AND state <> 'succeeded'
        AND (state IN ('failed', 'timed_out', 'lost') OR (state = 'cancelled' AND why = 'shutdown'))
        AND requeued_as IS NULL AND dismissed IS NULL;
CREATE INDEX asyncsched_runs_dead_of_job ON asyncsched_runs (namespace, job, due, id, finished_at)
    WHERE finished_at IS NOT NULL AND state <> 'succeeded'
        AND (state IN ('failed', 'timed_out', 'lost') OR (state = 'cancelled' AND why = 'shutdown'))
        AND requeued_as IS NULL AND dismissed IS NULL;
CREATE INDEX asyncsched_runs_dead_of_schedule ON asyncsched_runs (namespace, schedule, due, id, finished_at)
    WHERE schedule IS NOT NULL AND finished_at IS NOT NULL AND state <> 'succeeded'
        AND (state IN ('failed', 'timed_out', 'lost') OR (state = 'cancelled' AND why = 'shutdown'))
        AND requeued_as IS NULL AND dismissed IS NULL;

-- The runs of each tag. Triggers keep the rows, since a run may be added by a statement in a user's transaction.
-- The state is not among the columns: with it, every run would pay for a trigger at each of its writes.
CREATE TABLE asyncsched_run_tags (
    namespace TEXT NOT NULL,
    tag TEXT NOT NULL,
    due INTEGER NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (namespace, tag, due, run)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO asyncsched_run_tags
SELECT r.namespace, t.value, r.due, r.id FROM asyncsched_runs AS r, json_each(r.tags) AS t
WHERE r.tags IS NOT NULL AND json_valid(r.tags);
CREATE TRIGGER asyncsched_runs_tags_in AFTER INSERT ON asyncsched_runs WHEN NEW.tags IS NOT NULL BEGIN
    INSERT OR IGNORE INTO asyncsched_run_tags SELECT NEW.namespace, t.value, NEW.due, NEW.id
    FROM json_each(CASE WHEN json_valid(NEW.tags) THEN NEW.tags ELSE '[]' END) AS t;
END;
CREATE TRIGGER asyncsched_runs_tags_on AFTER UPDATE OF due, tags ON asyncsched_runs
WHEN coalesce(OLD.tags, NEW.tags) IS NOT NULL BEGIN
    DELETE FROM asyncsched_run_tags WHERE namespace = OLD.namespace AND tag IN (
        SELECT t.value FROM json_each(CASE WHEN json_valid(OLD.tags) THEN OLD.tags ELSE '[]' END) AS t
    ) AND due = OLD.due AND run = OLD.id;
    INSERT OR IGNORE INTO asyncsched_run_tags SELECT NEW.namespace, t.value, NEW.due, NEW.id
    FROM json_each(CASE WHEN json_valid(NEW.tags) THEN NEW.tags ELSE '[]' END) AS t;
END;
CREATE TRIGGER asyncsched_runs_tags_out AFTER DELETE ON asyncsched_runs WHEN OLD.tags IS NOT NULL BEGIN
    DELETE FROM asyncsched_run_tags WHERE namespace = OLD.namespace AND tag IN (
        SELECT t.value FROM json_each(CASE WHEN json_valid(OLD.tags) THEN OLD.tags ELSE '[]' END) AS t
    ) AND due = OLD.due AND run = OLD.id;
END;
