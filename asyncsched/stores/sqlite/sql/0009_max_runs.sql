-- The runs that a schedule may have, and those that its slots have become.
ALTER TABLE asyncsched_schedules ADD COLUMN max_runs INTEGER;
ALTER TABLE asyncsched_schedules ADD COLUMN runs_made INTEGER NOT NULL DEFAULT 0;
