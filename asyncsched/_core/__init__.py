"""The words and the decisions of the scheduler: pure, with no event loop, no clock and no I/O.

This folder may import nothing of the package but itself, and outside it the standard library (pydantic in
``arguments/codec`` and ``arguments/jsonable`` only). Begin reading at ``models``.

One path through the whole package, to see how it works::

    abc → _core/models → _core/rules/due → _core/rules/transitions → _engine/engine → _engine/runner → _engine/worker
"""
