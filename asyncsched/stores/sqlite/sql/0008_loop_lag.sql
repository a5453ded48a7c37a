-- By how much the event loop of an instance was late, in microseconds, for people who look at the instances.
ALTER TABLE asyncsched_instances ADD COLUMN lag INTEGER NOT NULL DEFAULT 0;
