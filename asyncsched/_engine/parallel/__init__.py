"""Parallel loops: one function called with many items on an executor, as the consumer of the results keeps up.

This folder may import ``_core``, ``abc`` and ``_backends``, and the other modules of the engine. Begin reading
at ``loop``.
"""
