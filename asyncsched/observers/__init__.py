"""Observers, which hear events: the log, always on.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``log``.
"""
