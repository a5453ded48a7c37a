"""The command line ``asyncsched``: to look, to ask why and when, to operate, and to run a worker.

This folder may import every other but ``dashboard`` and ``testing``, and only ``__main__`` imports it. Begin
reading at ``main``. Each command is a function of a module that is imported when the command is used, so that
``--help`` is quick.
"""
