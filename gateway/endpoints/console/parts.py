"""Parts of the pages. Most are macros of the template ``parts.html``."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

import attrs

from gateway.endpoints.admin.calls import AdminAnswer
from gateway.endpoints.html import Html, html, macros
from gateway.kept_ledger.usage_formats import short_dollar_text

NOTHING: Final = Html("")
_PARTS: Final = macros("parts.html")
table: Callable[..., Html] = _PARTS.table
cell: Callable[[object], Html] = _PARTS.cell
facts: Callable[..., Html] = _PARTS.facts
section: Callable[..., Html] = _PARTS.section
moment: Callable[[str | None], Html] = _PARTS.moment
link: Callable[..., Html] = _PARTS.link
notice: Callable[[str], Html] = _PARTS.notice
problem: Callable[[str], Html] = _PARTS.problem
form: Callable[..., Html] = _PARTS.form
field: Callable[..., Html] = _PARTS.field
choice: Callable[..., Html] = _PARTS.choice
filters: Callable[..., Html] = _PARTS.filters
details: Callable[..., Html] = _PARTS.details
navigation: Callable[..., Html] = _PARTS.navigation
new_key: Callable[..., Html] = _PARTS.new_key

_PLAIN: Final = re.compile(r"[A-Za-z*][A-Za-z0-9 ./*_-]*[A-Za-z0-9*]|[A-Za-z*]|[0-9]+ [A-Za-z/]+")
"""Text that YAML reads as text without quotes."""
_EMPTY_COUNTS: Final = frozenset(("models", "only"))
"""Settings whose empty list means none, not all."""
_WORDS: Final = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


@attrs.frozen(repr=False)
class Column:
    """A column of a table. ``is_number`` aligns it to the right."""

    title: str
    is_number: bool = False


def money(usd: object) -> Html:
    """Return decimal dollars to a hundredth of a cent, with all digits as a tooltip."""
    return html('<span title="{usd}">{short}</span>', usd=usd, short=short_dollar_text(Decimal(str(usd))))


def problem_of(answer: AdminAnswer) -> Html:
    """Return an error of the API as a paragraph of the page."""
    return problem(str(answer.value["error"]["message"]))


def file_lines(lines: Mapping[str, Any], place: str, name: str) -> Html:
    """Return the lines of the configuration's file to change: the item ``name`` of the list ``place``.

    Settings that are ``None`` are left out."""
    text = [f"{place}:", f"  - name: {yaml_text(name)}"]
    text += [
        f"    {key}: {yaml_text(value)}"
        for key, value in lines.items()
        if value or (value is not None and key in _EMPTY_COUNTS)
    ]
    shown: Html = _PARTS.lines_to_change("\n".join(text))
    return shown


def yaml_text(value: Any) -> str:
    """Return a value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml_text(key)}: {yaml_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def next_page(path: str, answer: AdminAnswer, query: Mapping[str, str]) -> Html:
    """Return the link to the next part of a list."""
    following = answer.value.get("next")
    if following is None:
        return NOTHING
    shown: Html = _PARTS.next_link(f"{path}?{urlencode({**query, 'after': following})}")
    return shown
