"""The running parts: they fire schedules, execute runs, record their ends, and watch the other instances.

This folder may import ``_core``, ``abc`` and ``_backends``; the parts that it runs are handed in. Begin reading at
``engine``, and go on with ``runner`` and ``worker``.
"""
