"""The face: what an app calls to declare, schedule, operate and inspect."""
