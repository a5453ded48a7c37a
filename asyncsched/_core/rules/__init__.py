"""The decisions, in plain code over records: which slots are due, which runs begin, how runs end.

This folder may import ``_core`` only. Begin reading at ``due``.
"""
