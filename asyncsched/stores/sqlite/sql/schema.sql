-- name: tables
-- The tables whose names begin with asyncsched_.
SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'asyncsched~_%' ESCAPE '~';
