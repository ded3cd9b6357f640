"""Imports of modules while the gateway serves requests: a thread imports them, so that no stream waits."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Final

import trio

_imported: Final[set[str]] = set()


async def load_module(name: str) -> ModuleType:
    """Return the module ``name``."""
    await import_all((name,))
    return sys.modules[name]


async def import_all(names: Iterable[str]) -> None:
    """Import the modules ``names``. Other tasks continue meanwhile; it returns immediately if all were imported.

    A disconnect of the client does not cancel it, because the code that records the request may be among them."""
    if missing := [name for name in names if name not in _imported]:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_import_each, missing)
        _imported.update(missing)


def _import_each(names: Sequence[str]) -> None:
    for name in names:
        import_module(name)
