"""Bodies of requests to the API from the fields of forms."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

NO_MODELS: Final = "none"
"""The word in a form for an empty list of models, which allows none."""

CLIENT_FIELDS: Final = ("group", "models", "budgets", "until", "requests", "tokens")
_RATES: Final = ("requests", "tokens")
"""Fields for members of ``ratelimits``."""


def request_body(
    form: Mapping[str, str], fields: Sequence[str], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the present ``settings`` of an object, with the values of ``fields`` in their place.

    An empty field removes its setting; a field that the form does not have keeps it."""
    body = {name: value for name, value in (settings or {}).items() if name != "name"}
    rates = dict(body.pop("ratelimits", None) or {})
    for name in fields:
        if name in form:
            holder = rates if name in _RATES else body
            value = _READERS.get(name, str)(form[name].strip())
            holder.pop(name, None)
            if value or (name == "models" and value == []):
                holder[name] = value
    return {**body, "ratelimits": rates} if rates else body


def _split_list(text: str) -> list[str]:
    """Return the items of a text that separates them with commas or lines."""
    return [item.strip() for item in re.split(r"[,\n]", text) if item.strip()]


def _read_models(text: str) -> list[str] | None:
    return [] if text == NO_MODELS else _split_list(text) or None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {"models": _read_models, "budgets": _split_list}
"""Functions that read the text of fields; others are texts."""
