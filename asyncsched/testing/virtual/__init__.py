"""Virtual time, on asyncio and trio."""
