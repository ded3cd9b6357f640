"""Bodies of requests to the API from the fields of forms."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

NO_MODELS: Final = "none"
"""The word in a form for an empty list of models, which allows none."""

_RATES: Final = ("requests", "tokens")
_Fields = Mapping[str, str]


def split_list(text: str) -> list[str]:
    """Return the items of a text that separates them with commas or lines."""
    return [item.strip() for item in re.split(r"[,\n]", text) if item.strip()]


def client_body(form: _Fields, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a client: its ``settings``, with those of the form in their place.

    An empty field removes its setting; a field that the form does not have keeps it."""
    body = {name: value for name, value in settings.items() if name != "name"}
    for name, read in _READERS.items():
        if name in form:
            _set(body, name, read(form[name].strip()))
    rates = dict(_mapping(body.get("ratelimits")))
    for name in _RATES:
        if name in form:
            _set(rates, name, form[name].strip())
    _set(body, "ratelimits", rates)
    return body


def _set(settings: dict[str, Any], name: str, value: Any) -> None:
    """Set a member, or remove it if ``value`` is empty; an empty list of models is a value."""
    if value or (name == "models" and value == []):
        settings[name] = value
    else:
        settings.pop(name, None)


def _models(text: str) -> list[str] | None:
    return [] if text == NO_MODELS else split_list(text) or None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "group": str,
    "models": _models,
    "budgets": split_list,
    "until": str,
}
"""The settings with a field of the same name, each with the function that reads its text."""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def own_key_body(form: _Fields) -> dict[str, Any]:
    """Return the body for a key that a person creates for itself."""
    return {"until": form["until"].strip()} if form.get("until", "").strip() else {}


def rotation_body(form: _Fields) -> dict[str, Any]:
    return {"keep_old": form.get("keep_old", "").strip()} if form.get("keep_old", "").strip() else {}


def raise_body(form: _Fields) -> dict[str, Any]:
    return {"budgets": split_list(form.get("budgets", "")), "until": form.get("until", "").strip()}


def block_body(form: _Fields) -> dict[str, Any]:
    return {"reason": form.get("reason", "").strip()}


def no_body(form: _Fields) -> None:
    """Return the body of a request without one."""
    return
