"""The same questions of time asked of several libraries, and how eight ways to run something every second drift.

``python -m tests.conformance`` asks, measures, and writes ``examples/guide/conformance.md`` with its picture anew.
"""
