"""Members of bodies whose names say that they are credentials, such as those with which a model is to use a tool."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

NAMES: Final = r"[\w-]*(?:api[_-]?key|authorization|password|secret|(?:access|auth|bearer)[_-]?token)"
MASK: Final = "***"

_NAMED: Final = re.compile(NAMES, re.IGNORECASE)


def is_secret(name: object) -> bool:
    """Whether a member of that ``name`` is a credential."""
    return isinstance(name, str) and _NAMED.fullmatch(name) is not None


def named_secrets(value: Any, *, named: bool = False) -> Iterator[str]:
    """The texts in ``value`` that are credentials by the names of their members; all, where it is ``named`` so."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from named_secrets(item, named=is_secret(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_secrets(item, named=named)
    elif named and isinstance(value, str):
        yield value


def without_secrets(value: Any) -> Any:
    """``value`` with a mask for each credential."""
    if isinstance(value, Mapping):
        return {name: MASK if is_secret(name) else without_secrets(item) for name, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value
