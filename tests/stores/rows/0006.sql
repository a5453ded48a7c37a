-- Rows of the sixth schema: of each of its tables one, as the page's counters and the record of operations write them.
INSERT INTO asyncsched_tallies (namespace, subject, figures, version) VALUES ('default', 's:tick', '{}', 1);
INSERT INTO asyncsched_periods (namespace, start, succeeded, failed, cancelled, missed, late)
VALUES ('default', 1767225600000000, 3, 1, 0, 2, '{}');
INSERT INTO asyncsched_counted (namespace, source, number, version) VALUES ('default', 7, 1, 1);
INSERT INTO asyncsched_activity (namespace, id, at, action, subject, "by", note, via, result, failed)
VALUES ('default', '019b76daa80070008a1088a240000001', 1767225600000000, 'pause', 'tick', 'ada', '', 'code', '', 0);
