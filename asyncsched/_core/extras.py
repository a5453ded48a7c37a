"""Packages that are asked for only where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asyncsched._core.errors import ConfigurationError


def needed(module: str, package: str, extra: str, what: str) -> Any:
    """Return a module of an optional package.

    Raises:
        ConfigurationError: the package is not installed; the text says which extra brings it.

    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the package is there, and lacks something itself
        raise ConfigurationError(
            f'{what} needs {package}; install it with pip install "asyncsched[{extra}]"'
        ) from None
