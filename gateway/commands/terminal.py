"""Output for terminals, where long lines are wrapped; files and pipes get whole lines. Texts that commands share."""

import os
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, BinaryIO, Final, TextIO, TypeVar

import click

from configfile.wording import nearest
from gateway.log_output import colours
from gateway.logs.masking import escape_lines

T = TypeVar("T")

WIDTH: Final = 80
"""The maximum number of columns of sentences: longer lines are harder to read."""

_HANGING: Final = "    "


def say(text: str, **style: Any) -> None:
    """Print ``text`` on standard error in the ``style`` of ``click.style``; wrap lines only on a terminal.

    Names in ``text`` may come from anywhere, so no character of them controls the terminal."""
    if not all(line.isascii() and line.isprintable() for line in text.splitlines()):
        text = escape_lines(text).encode(errors="backslashreplace").decode()  # paths may have any bytes
    width = columns(sys.stderr)
    shown = text if width is None else "\n".join(fold(line, width) for line in text.splitlines())
    echo_styled(click.style(shown, **style) if style else shown, err=True)


def echo_styled(text: str, **more: Any) -> None:
    """Print ``text``, without colours if they are unwanted. ``more`` are options of ``click.echo``."""
    click.echo(text, color=False if colours.are_unwanted() else None, **more)


def fold(line: str, width: int, hanging: str = _HANGING) -> str:
    """Wrap ``line`` to ``width``; indent the following lines by ``hanging``. Words stay whole, so you can copy them."""
    indent = line[: len(line) - len(line.lstrip(" "))]
    return textwrap.fill(
        line, width, subsequent_indent=indent + hanging, break_long_words=False, break_on_hyphens=False
    )


def print_rows(rows: Iterable[tuple[str, str]], label_width: int, width: int | None = None, indent: str = "  ") -> None:
    """Print labels with texts, after ``indent``. The texts are wrapped to ``width``; ``None`` wraps nothing.

    An empty label continues the row above."""
    for label, text in rows:
        line = f"{indent}{label:{label_width}}{text}".rstrip()
        click.echo(line if width is None else fold(line, width, " " * label_width if label else ""))


def page(*sections: Sequence[str]) -> str:
    """Return the lines of a report, with an empty line between two sections."""
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def wrap_sentences(lines: Iterable[str]) -> list[str]:
    """Return ``lines`` for standard output, wrapped if it is a terminal."""
    width = columns(sys.stdout)
    return [*lines] if width is None else [fold(line, width) for line in lines]


def name_of(file: BinaryIO) -> str:
    """Return the name of an argument of type ``click.File`` for messages."""
    name = getattr(file, "name", "<stdin>")
    return "standard input" if name == "<stdin>" else str(name)


def some_of(names: Sequence[str], most: int = 12) -> str:
    """Return the first names in a sentence, with the number of others."""
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{others}"


def count_text(number: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun, which has the ending ``plural`` unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def columns(stream: TextIO) -> int | None:
    """Return the maximum width of text on ``stream``, ``None`` if it is not a terminal."""
    return None if (width := real_columns(stream)) is None else min(WIDTH, width)


def real_columns(stream: TextIO) -> int | None:
    """Return the width of the terminal ``stream``, ``None`` if it is not a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH  # some terminals report 0
    except (OSError, ValueError):  # a pipe, a file, or closed
        return None


INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as of a shell."""


def run_or_exit(task: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run ``task`` in trio, and return its result. At Ctrl-C, print one line and raise ``SystemExit``."""
    import trio  # slow to import, and only some commands need it

    try:
        # Between checkpoints, Ctrl-C could leave a library's coroutine unawaited, and Python would warn of it.
        return trio.run(task, *args, restrict_keyboard_interrupt_to_checkpoints=True)
    except* KeyboardInterrupt:  # a nursery puts it into a group
        say("interrupted; no report")
    raise SystemExit(INTERRUPTED)


def suggest_name(name: str, names: Sequence[str]) -> str:
    """Return a question with the one of ``names`` that the user probably meant, or else all of them."""
    near = nearest(name, names, cutoff=0.6)
    return f"did you mean {near}?" if near else f"it has {', '.join(names) or 'none'}"
