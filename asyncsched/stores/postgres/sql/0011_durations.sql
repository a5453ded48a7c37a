-- How long runs took, as JSON, and the number of the write, so that only what is new is read. An instance of an older
-- version gives no number: its periods are read again each time.
ALTER TABLE asyncsched_periods ADD COLUMN took text NOT NULL DEFAULT '{}';
ALTER TABLE asyncsched_periods ADD COLUMN version bigint NOT NULL DEFAULT 9223372036854775807;
UPDATE asyncsched_periods SET version = 0;
