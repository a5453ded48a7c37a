-- name: tables
-- The tables of our names.
SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'asyncsched~_%' ESCAPE '~';
