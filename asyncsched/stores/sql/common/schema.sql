-- name: schema
-- The number of the last migration that was applied.
SELECT coalesce(max(number), 0) FROM asyncsched_schema;

-- name: ledger
-- Whether a namespace is known.
SELECT 1 FROM asyncsched_ledger WHERE namespace = :namespace;

-- name: found
-- Insert the ledger's row of a namespace; if the row was deleted, begin beyond the counts in the other rows.
INSERT INTO asyncsched_ledger (namespace, version, dropped, ordinals)
SELECT
    :namespace, stood.version, stood.version,
    (SELECT coalesce(max(i.ordinal), 0) FROM asyncsched_instances AS i WHERE i.namespace = :namespace)
FROM (
    SELECT coalesce(max(s.version) + 1, 0) AS version
    FROM asyncsched_schedules AS s WHERE s.namespace = :namespace
) AS stood
WHERE TRUE ON CONFLICT DO NOTHING;
