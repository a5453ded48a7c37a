"""An uptime monitor: give it addresses, and it tells which of them answer, how fast, and by mail.

Start it with ``python -m examples.uptime``. Read it in this order: ``app`` (jobs and handlers),
``chart`` (the work for a process), ``mail``, ``database``, ``page``.
"""
