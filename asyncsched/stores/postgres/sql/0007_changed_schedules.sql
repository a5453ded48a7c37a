-- The schedules that have changed since an instance looked last, in portions.
CREATE INDEX asyncsched_schedules_version ON asyncsched_schedules (namespace, version, id);
