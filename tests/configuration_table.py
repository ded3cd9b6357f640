"""The tables of keys in ``docs/configuration.md``, from the classes that read them and what is said of each key.

``python tests/configuration_table.py`` writes them; ``tests/test_configuration_page.py`` keeps them true.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs

from gateway.config import schema
from gateway.config.reference import KEYS, in_words
from providers.quirks import Quirks

PAGE = Path(__file__).parent.parent / "docs/configuration.md"
HEAD = ("key", "type", "default", "meaning")

PLACES: Mapping[str, type] = {
    "Root": schema.RawConfig,
    "listeners": schema.RawListener,
    "model_providers": schema.RawEntry,
    "quirks": Quirks,
    "model_aliases": schema.RawAlias,
    "client_keys": schema.RawClientKey,
    "state_storage": schema.RawStateStorage,
    "metrics": schema.RawMetrics,
    "tracing": schema.RawTracing,
    "timeouts": schema.RawTimeouts,
    "limits": schema.RawLimits,
    "overrides": schema.RawOverrides,
}
"""The heading that the table of a class stands under."""

WITHOUT_EFFECT: Mapping[str, type] = {
    "": schema.RawConfig,
    "listeners[].": schema.RawListener,
    "listeners.": schema.RawLegacyListeners,
    "model_providers[].": schema.RawEntry,
    "overrides.": schema.RawOverrides,
    "tracing.": schema.RawTracing,
}


def effective(kind: type) -> tuple[str, ...]:
    """The keys of a class that are read."""
    return tuple(
        field.name for field in attrs.fields(kind) if schema.ACCEPTED not in field.metadata and field.name != "unknown"
    )


def tables() -> dict[str, str]:
    """The table under each heading."""
    found = {heading: _table(HEAD, _rows(kind)) for heading, kind in PLACES.items()}
    older = [*_rows(schema.RawLegacyListeners), *_rows(schema.RawTraffic, "egress_traffic.")]
    found["The older form"] = _table(HEAD, older)
    found["Accepted without effect"] = _table(
        ("key", "why"),
        [
            (f"`{prefix}{field.name}`", field.metadata[schema.ACCEPTED])
            for prefix, kind in WITHOUT_EFFECT.items()
            for field in attrs.fields(kind)
            if schema.ACCEPTED in field.metadata
        ],
    )
    return found


def _rows(kind: type, prefix: str = "") -> list[tuple[str, ...]]:
    hints = get_type_hints(kind)
    return [(f"`{prefix}{name}`", in_words(hints[name]), key.default, key.meaning) for name, key in KEYS[kind].items()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ("|" + "|".join(f" {cell} " if cell else " " for cell in map(_escaped, row)) + "|" for row in rows)
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def page(text: str) -> str:
    """``text`` with every table of keys as it should be. Raises ``LookupError`` for a heading without one."""
    for heading, table in tables().items():
        pattern = rf"(^##+ {re.escape(heading)}\n(?:(?!^#|^\|).*\n)*)(?:^\|.*\n)+"
        text, count = re.subn(pattern, lambda match, new=table: match[1] + new, text, count=1, flags=re.M)
        if not count:
            raise LookupError(f"no table under {heading}")
    return text


def defaults(kind: type) -> dict[str, Any]:
    """The keys of a class whose default is one value, and that as it would be written in the file."""
    return {name: key.default.strip("`") for name, key in KEYS[kind].items() if re.fullmatch(r"`[^`]+`", key.default)}


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
