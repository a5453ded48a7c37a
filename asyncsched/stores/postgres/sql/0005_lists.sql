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
    namespace text COLLATE "C" NOT NULL,
    tag text COLLATE "C" NOT NULL,
    due bigint NOT NULL,
    run uuid NOT NULL,
    PRIMARY KEY (namespace, tag, due, run)
);
-- The tags in a row's text; none where the text was edited into something else.
CREATE FUNCTION asyncsched_tags_in(tags text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT json_array_elements_text(CASE
        WHEN tags ~ '^\["([^"\\[:cntrl:]]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"(, ?"([^"\\[:cntrl:]]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*")*\]$'
        THEN tags::json ELSE '[]' END)
$$;
CREATE FUNCTION asyncsched_keep_tags() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' AND OLD.tags IS NOT NULL THEN
        DELETE FROM asyncsched_run_tags
        WHERE namespace = OLD.namespace AND tag = ANY(ARRAY(SELECT asyncsched_tags_in(OLD.tags)))
            AND due = OLD.due AND run = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.tags IS NOT NULL THEN
        INSERT INTO asyncsched_run_tags
        SELECT NEW.namespace, t.tag, NEW.due, NEW.id FROM asyncsched_tags_in(NEW.tags) AS t(tag)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
INSERT INTO asyncsched_run_tags
SELECT r.namespace, t.tag, r.due, r.id
FROM asyncsched_runs AS r CROSS JOIN LATERAL asyncsched_tags_in(r.tags) AS t(tag)
WHERE r.tags IS NOT NULL ON CONFLICT DO NOTHING;
CREATE TRIGGER asyncsched_runs_tags_in AFTER INSERT ON asyncsched_runs FOR EACH ROW
    WHEN (NEW.tags IS NOT NULL) EXECUTE FUNCTION asyncsched_keep_tags();
CREATE TRIGGER asyncsched_runs_tags_on AFTER UPDATE OF due, tags ON asyncsched_runs FOR EACH ROW
    WHEN (coalesce(OLD.tags, NEW.tags) IS NOT NULL) EXECUTE FUNCTION asyncsched_keep_tags();
CREATE TRIGGER asyncsched_runs_tags_out AFTER DELETE ON asyncsched_runs FOR EACH ROW
    WHEN (OLD.tags IS NOT NULL) EXECUTE FUNCTION asyncsched_keep_tags();
