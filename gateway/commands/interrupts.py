"""The end of commands at Ctrl-C, without a traceback."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click
import trio

T = TypeVar("T")

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as of a shell."""


def run_or_exit(task: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run ``task`` in trio, and return its result. At Ctrl-C, print one line and raise ``SystemExit``."""
    try:
        return trio.run(task, *args)
    except* KeyboardInterrupt:  # a nursery puts it into a group
        click.echo("interrupted; no report", err=True)
    raise SystemExit(INTERRUPTED)
