"""Schedules of other schedulers, read from their files and written as code, with every difference in meaning.

This folder may import what ``cli`` may import. Begin reading at ``found``, which says what a reader returns and
writes the code; each other module reads one kind of file, and executes none of it.
"""
