"""Benchmarks side by side with APScheduler 3 and the floors: ``python -m tests.benchmarks``."""
