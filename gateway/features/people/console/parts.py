"""Parts of the pages, which are macros of templates, and the filters that these use."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

import yaml

from gateway.features.admin.interface import AdminAnswer
from gateway.features.people.console.api_calls import PageCall
from gateway.features.people.html import FILTERS, Html, macros
from gateway.viewing.money import short_dollar_text, short_number

_EMPTY_COUNTS: Final = frozenset(("models", "only"))
"""Settings whose empty list means none, not all."""


def _file_lines(item: Mapping[str, Any], place: str, names: Sequence[str]) -> str:
    """Return the lines of the file for the members ``names`` of an item in the list ``place``."""
    shown = {name: item[name] for name in names if item[name] or (item[name] is not None and name in _EMPTY_COUNTS)}
    lines = (f"    {name}: {_yaml(value)}" for name, value in shown.items())
    return "\n".join((f"{place}:", f"  - name: {_yaml(item['name'])}", *lines))


def _yaml(value: Any) -> str:
    """Return a value in one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").rstrip("\n")


def _list_text(items: Any) -> str:
    """Return a list for a field; a single item counts as a list."""
    return ", ".join(map(str, items)) if isinstance(items, list | tuple) else str(items or "")


def _json_lines(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


FILTERS.update(
    file_lines=_file_lines, json_lines=_json_lines, list_text=_list_text, yaml=_yaml,
    short_dollars=lambda usd: short_dollar_text(Decimal(str(usd))), short_number=short_number,
)  # fmt: skip
PARTS: Final = macros("parts.html")
"""The parts that all pages share."""


def shown_by(page: str, macro: str, call: PageCall, *values: object, **more: object) -> Html:
    """Return the section that ``macro`` of the template of ``page`` makes from ``values``."""
    shown: Html = getattr(macros(f"console/{page}.html"), macro)(call, *values, **more)
    return shown


def problem_of(answer: AdminAnswer) -> Html:
    """Return an error of the API as a paragraph of the page."""
    return PARTS.problem(str(answer.value["error"]["message"]))


def next_link(path: str, answer: AdminAnswer, query: Mapping[str, str]) -> Html:
    """Return the link to the next part of a list, nothing after the last one."""
    following = answer.value.get("next")
    return PARTS.next_link(None if following is None else f"{path}?{urlencode({**query, 'after': following})}")
