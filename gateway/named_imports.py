"""Imports of functions that rows of data name, such as those of features."""

from importlib import import_module
from typing import Any


def import_named(place: str) -> Any:
    """Import the module of ``module:name``, and return what has the name there."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
