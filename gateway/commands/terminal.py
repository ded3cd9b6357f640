"""Text for whoever reads a terminal: long lines are folded there, and nowhere else."""

import os
import sys
import textwrap
from typing import Any, Final, TextIO

import click

WIDTH: Final = 80
"""Columns, where the terminal has no fewer: longer lines are harder to read."""

_HANGING: Final = "    "


def say(text: str, **style: Any) -> None:
    """Print ``text`` on standard error, in the ``style`` of ``click.style``. Programs that read it get whole lines."""
    width = columns(sys.stderr)
    shown = text if width is None else "\n".join(fold(line, width) for line in text.splitlines())
    click.secho(shown, err=True, color=False if os.environ.get("NO_COLOR") else None, **style)


def fold(line: str, width: int, hanging: str = _HANGING) -> str:
    """``line`` in as many lines as it needs, those after the first indented further, by ``hanging``. Words stay whole,
    for they are to be copied."""
    indent = line[: len(line) - len(line.lstrip(" "))]
    return textwrap.fill(
        line, width, subsequent_indent=indent + hanging, break_long_words=False, break_on_hyphens=False
    )


def columns(stream: TextIO) -> int | None:
    """The width that text on ``stream`` may have; ``None`` where no terminal reads."""
    try:
        return min(WIDTH, os.get_terminal_size(stream.fileno()).columns) or WIDTH
    except (OSError, ValueError):  # a pipe, a file; closed
        return None
