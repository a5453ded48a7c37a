-- The jobs that have runs, and the runs of a job by state. Running runs are left out: they are few, and read by
-- their holder.
CREATE INDEX asyncsched_runs_job ON asyncsched_runs (namespace, job, state, origin, due, id)
    WHERE state <> 'running';
