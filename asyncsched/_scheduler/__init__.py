"""The class ``Scheduler``, with which an app declares jobs, schedules, operates and inspects.

This folder may import ``_core``, ``abc``, ``_backends``, ``_engine``, and the folders of the parts: ``triggers``,
``policies``, ``executors``, ``stores`` and ``observers``. Begin reading at ``scheduler``.
"""
