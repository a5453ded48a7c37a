"""The part of a store that every database shares: two threads, group commit, and the operations.

This folder may import ``_core``, ``abc`` and ``_backends``, and no single database. Begin reading at ``store``.
"""
