-- name: schema
-- The number of the last migration that was applied.
SELECT coalesce(max(number), 0) FROM asyncsched_schema;

-- name: ledger
-- Whether a namespace is known.
SELECT 1 FROM asyncsched_ledger WHERE namespace = :namespace;

-- name: found
-- Make a namespace known; or once more, beyond the counts of its rows, where somebody deleted that row.
INSERT INTO asyncsched_ledger (namespace, version, dropped, ordinals)
SELECT
    :namespace, stood.version, stood.version,
    (SELECT coalesce(max(i.ordinal), 0) FROM asyncsched_instances AS i WHERE i.namespace = :namespace)
FROM (
    SELECT coalesce(max(s.version) + 1, 0) AS version
    FROM asyncsched_schedules AS s WHERE s.namespace = :namespace
) AS stood
WHERE TRUE ON CONFLICT DO NOTHING;
