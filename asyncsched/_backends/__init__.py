"""asyncio and trio behind one protocol, and the one door to time."""
