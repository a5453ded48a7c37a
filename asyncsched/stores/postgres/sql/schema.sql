-- name: tables
-- The tables of our names.
SELECT tablename FROM pg_tables
WHERE schemaname = current_schema() AND starts_with(tablename, 'asyncsched_');
