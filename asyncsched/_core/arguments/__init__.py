"""The arguments of jobs: the check of a call against the function, and its JSON.

This folder may import ``_core`` only. Begin reading at ``signature``.
"""
