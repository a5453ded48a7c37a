-- name: tables
-- The tables of our names.
SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'asyncsched~_%' ESCAPE '~';

-- name: schema
-- The number of the last migration that was applied.
SELECT coalesce(max(number), 0) FROM asyncsched_schema;

-- name: ledger
-- Whether a namespace is known.
SELECT 1 FROM asyncsched_ledger WHERE namespace = :namespace;

-- name: found
-- Make a namespace known.
INSERT INTO asyncsched_ledger (namespace) VALUES (:namespace) ON CONFLICT DO NOTHING;
