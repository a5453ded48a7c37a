-- The runs that a schedule may have, and those that its slots have become.
ALTER TABLE asyncsched_schedules ADD COLUMN max_runs bigint;
ALTER TABLE asyncsched_schedules ADD COLUMN runs_made bigint NOT NULL DEFAULT 0;
