"""The part of a store that all databases share: two threads, group commit, and the operations.

This folder may import ``_core``, ``abc`` and ``_backends``, and no single database. Begin reading at ``store``.
"""
