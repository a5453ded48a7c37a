"""The running parts: what fires schedules, executes runs, records their ends and lives among other instances."""
