"""Virtual time, on asyncio and trio.

This folder may import ``_core``. Begin reading at ``flow``.
"""
