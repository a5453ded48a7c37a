"""What the SQL stores share: the ``Store`` protocol as requests to two threads."""
