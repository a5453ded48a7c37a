"""The store in memory: the default; it keeps every promise but durability beyond the process.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``store``.
"""

from asyncsched.stores.memory.store import MemoryStore as MemoryStore
