-- The slots of the whole namespace that got no run, by reason, as JSON; before, those that were missed alone.
ALTER TABLE asyncsched_periods ADD COLUMN skipped TEXT NOT NULL DEFAULT '{}';
UPDATE asyncsched_periods SET skipped = '{"missed":' || missed || '}' WHERE missed > 0;
