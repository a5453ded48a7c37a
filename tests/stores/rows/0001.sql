-- A small ledger as schema 1 has it: of every table a row, of runs one in each state.
INSERT INTO asyncsched_ledger (namespace, signal, version, dropped, seats) VALUES ('default', 7, 3, 1, 2);
INSERT INTO asyncsched_schedules VALUES (
    'default', 'hourly', 'report', '{"type":"interval","period":3600000000}', 0, 0, 3600000000, 3600000000,
    '[[],{}]', 0, '["a"]', 'f', 1, 5, 0, 0, 0, NULL, '', '', 1, 1, 0, 0, 0, NULL, 3
);
INSERT INTO asyncsched_runs (
    id, namespace, job, due, executor, schedule, origin, slot, ready_at, "rank", priority, arguments, "key",
    held_key, key_ttl, tags, permits, max_attempts, state, attempt, holder, started_at, finished_at,
    late, why, error, result, attempts
) VALUES
('00000000000000000000000000000001', 'default', 'report', 1, 'loop', 'hourly', 'schedule', 1, NULL, 1, 0,
 '[[],{}]', NULL, NULL, 0, NULL, NULL, 1, 'succeeded', 1, 5, 2, 3, 1, '', NULL, '4', NULL),
('00000000000000000000000000000002', 'default', 'report', 2, 'loop', 'hourly', 'schedule', 2, NULL, 2, 0,
 '[[],{}]', NULL, NULL, 0, NULL, NULL, 1, 'failed', 1, 5, 2, 3, 1, '', '["E","m","t"]', NULL, NULL),
('00000000000000000000000000000003', 'default', 'send', 9000000000000000, 'loop', NULL, 'once', NULL,
 9000000000000000, 9000000000000000, 0, '[["ann"],{}]', 'k', 'k', 60, '["b"]', NULL, 3, 'pending', 1, 0, NULL,
 NULL, 1, '', NULL, NULL, '[[1,2,3,"failed","",["E","m","t"]]]'),
('00000000000000000000000000000004', 'default', 'send', 4, 'thread', NULL, 'once', NULL, NULL, 4, 5,
 '[["bob"],{}]', NULL, NULL, 0, NULL, '[["limit",1]]', 1, 'running', 1, 5, 2, NULL, 1, '', NULL, NULL, NULL);
INSERT INTO asyncsched_runs (
    id, namespace, job, due, executor, origin, "rank", priority, waits_for, arguments, key_ttl, max_attempts, state
) VALUES (
    '00000000000000000000000000000005', 'default', 'send', 5, 'loop', 'once', 5, 0, 'limit', '[[],{}]', 0, 1,
    'pending'
);
INSERT INTO asyncsched_stretches VALUES ('default', 'hourly', 5, 6, 2, 'missed', 1);
INSERT INTO asyncsched_limits VALUES ('default', 'limit', 1, 0, NULL);
INSERT INTO asyncsched_paused_jobs VALUES ('default', 'other', 'a note', 'me', 1);
INSERT INTO asyncsched_instances VALUES ('default', 5, 9, 1, 'host', 1, '0.1', 'both', '["send"]', '[]', 1, 2);
