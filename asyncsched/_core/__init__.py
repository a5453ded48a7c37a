"""Words and decisions. Pure: the standard library, pydantic in the codec only; no event loop, no clock, no I/O.

It may import nothing of the package but itself. Begin reading at ``models``, then ``rules/due``.
"""
