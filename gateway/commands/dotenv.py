"""The file ``.env`` of the current folder, from which many programs take their variables.

trigate does not: the folder may be someone else's. If variables are missing, commands show how to load the file."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from gateway.commands.terminal import some_of

_LOAD: Final = "run `set -a; . ./.env; set +a`"
_LONGEST: Final = 64 * 1024
_VARIABLE: Final = re.compile(rb"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=.", re.MULTILINE)
_MISSING: Final = re.compile(r"the environment variable (\w+) is not set")


def names_in_dotenv() -> frozenset[str]:
    """Return the names of the variables in ``.env``, none without such a file."""
    path = Path(".env")
    try:
        if not path.is_file():  # a pipe would block
            return frozenset()
        with path.open("rb") as file:
            return frozenset(name.decode() for name in _VARIABLE.findall(file.read(_LONGEST)))
    except OSError:
        return frozenset()


def advise_loading(names: Collection[str], then: str = "") -> str:
    """Return the advice to load the variables ``names`` from ``.env``, ``then`` to do something."""
    return f"the file .env has {some_of(sorted(names))}: {_LOAD}{then}"


def with_advice(mistakes: str) -> str:
    """Return the text of ``mistakes``, with advice if ``.env`` has variables that they miss."""
    there = names_in_dotenv().intersection(_MISSING.findall(mistakes))
    return f"{mistakes}\n{advise_loading(there)}." if there else mistakes
