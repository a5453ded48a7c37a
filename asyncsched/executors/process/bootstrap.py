"""Makes a worker process like the scheduler's own: path, arguments, log levels and main file."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

Settings = dict[str, Any]

loading_main = False
"""Whether the main file of the scheduler's process is being run again in this one."""


def settings(initializer: tuple[bool, bytes] | None) -> Settings:
    """Return what a worker takes over from this process; ``initializer`` is a packed call."""
    manager = logging.root.manager
    levels = {
        name: known.level
        for name, known in list(manager.loggerDict.items())
        if isinstance(known, logging.Logger) and known.level
    }
    return {
        "argv": sys.argv,
        "levels": {"": logging.root.level, **levels},
        "disabled": manager.disable,
        "main": main_file(),
        "initializer": initializer,
    }


def main_file() -> tuple[str, str] | None:
    """Return how a worker can run the main file again, as ``("module", name)`` or ``("file", path)``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return "module", str(spec.name)
    path = getattr(main, "__file__", None)
    return ("file", os.path.abspath(path)) if path and os.path.exists(path) else None


def take_over(given: Settings) -> None:
    """Take the settings over, and call the initializer."""
    sys.argv[:] = given["argv"]
    for name, level in given["levels"].items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(given["disabled"])
    if given["initializer"] is not None:
        needs_main, packed = given["initializer"]
        initializer, initargs = load(needs_main, packed, given["main"])
        initializer(*initargs)


def load(needs_main: bool, packed: bytes, main: tuple[str, str] | None) -> Any:
    """Return what :func:`calls.pack_call` has packed."""
    if needs_main and main is not None and "__mp_main__" not in sys.modules:
        _load_main(*main)
    return pickle.loads(packed)


def _load_main(how: str, what: str) -> None:
    """Run the main file under the name ``__mp_main__``, as multiprocessing's spawn does."""
    global loading_main
    if how == "module":
        spec = importlib.util.find_spec(what)
    else:
        spec = importlib.util.spec_from_loader(
            "__mp_main__", SourceFileLoader("__mp_main__", what), origin=what
        )
    loader: Any = spec and spec.loader
    if spec is None or loader is None:
        raise ModuleNotFoundError(f"no module named {what!r}")
    module = ModuleType("__mp_main__")
    module.__file__, module.__package__ = spec.origin, spec.parent
    code = loader.get_code(spec.name)
    own = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    loading_main = True
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules["__main__"] = own
        del sys.modules["__mp_main__"]
        raise
    finally:
        loading_main = False
