"""The decisions, in plain code over records: what is due, what is admitted, how a run ends, what is kept."""
