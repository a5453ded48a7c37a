"""The ledger in memory: the default, with every promise but surviving the process."""

from asyncsched.stores.memory.store import MemoryStore as MemoryStore
