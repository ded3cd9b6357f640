"""The commands of features. ``--help`` imports them, so the modules have nothing but the options."""

from collections.abc import Iterator
from importlib import import_module
from typing import Final

import click

MODULES: Final = ("gateway.features.kept_ledger.interface", "gateway.features.steps.interface")
"""The modules, each with ``COMMANDS``."""


def feature_commands() -> Iterator[click.Command]:
    """Yield the commands of all features."""
    for module in MODULES:
        yield from import_module(module).COMMANDS
