"""One module for each kind of write: plain code over a ``Session``, the same for every database.

This folder may import ``stores.sql``, and what that may import. Begin reading at ``claiming``.
"""
