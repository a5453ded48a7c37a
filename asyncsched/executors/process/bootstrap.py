"""The start of a worker process, with the path, arguments, log levels and main file of this process."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from typing import Any

_BOOT = (
    "import sys; sys.path[:] = {path!r}; from asyncsched.executors.process import child; child.serve({fd})"
)


def command(fd: int) -> list[str]:
    """Return the command of a worker whose socket is the descriptor ``fd``."""
    path = [entry or os.getcwd() for entry in sys.path]
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", _BOOT.format(path=path, fd=fd)]


def hello(initializer: tuple[bool, bytes] | None) -> bytes:
    """Return the body of a ``HELLO`` message: the settings of this process that a worker takes over."""
    manager = logging.root.manager
    levels = {
        name: known.level
        for name, known in list(manager.loggerDict.items())
        if isinstance(known, logging.Logger) and known.level
    }
    fields: dict[str, Any] = {
        "parent": os.getpid(),
        "argv": sys.argv,
        "levels": {"": logging.root.level, **levels},
        "disabled": manager.disable,
        "main": main_file(),
        "initializer": initializer,
    }
    return pickle.dumps(fields, 5)


def main_file() -> tuple[str, str] | None:
    """Return how a worker can run the main file again, as ``("module", name)`` or ``("file", path)``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return "module", str(spec.name)
    path = getattr(main, "__file__", None)
    return ("file", os.path.abspath(path)) if path and os.path.exists(path) else None
