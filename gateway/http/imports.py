"""Imports while requests are served, without a delay for any stream."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Final

import trio

_imported: Final[set[str]] = set()


async def imported(name: str) -> ModuleType:
    """Return the module ``name``. A thread imports it the first time: that may take a tenth of a second."""
    if name not in _imported:
        await trio.to_thread.run_sync(import_module, name)
        _imported.add(name)
    return sys.modules[name]
