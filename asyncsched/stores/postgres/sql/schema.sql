-- name: tables
-- The tables whose names begin with asyncsched_.
SELECT tablename FROM pg_tables
WHERE schemaname = current_schema() AND starts_with(tablename, 'asyncsched_');
