"""The difference between the settings before and after a change, for the histories of keys and people."""

from collections.abc import Mapping
from typing import Any


def describe_difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Return each setting that differs with its value before and after, such as ``budgets 5 usd/day → 9 usd/day``.

    ``None`` is no record. A setting that is missing has the value ``-``."""
    old, new = before or {}, after or {}
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {value_text(old.get(name))} → {value_text(new.get(name))}" for name in names)


def value_text(value: Any) -> str:
    """Return a setting's value on one line."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={value_text(amount)}" for name, amount in value.items())
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    return "-" if value in (None, "") else str(value)
