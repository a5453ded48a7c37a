"""asyncio and trio behind one protocol, and the one door to time.

This folder may import ``_core`` and ``abc``. Begin reading at ``base``.
"""
