"""One module for each kind of write: plain code over a ``Session``, the same for every database.

This folder may import ``stores.sql``, and everything that ``stores.sql`` may import. Begin reading at ``claiming``.
"""
