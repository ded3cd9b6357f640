"""The environment's choice of colours for terminals."""

import os


def are_unwanted() -> bool:
    """Return whether the environment turns colours off: with ``NO_COLOR`` (https://no-color.org), or for a dumb
    terminal."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
