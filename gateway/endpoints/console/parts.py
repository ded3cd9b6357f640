"""Parts of the pages: tables, fields, forms and notices. They work without JavaScript, by keyboard and enlarged."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, LiteralString
from urllib.parse import urlencode

import attrs

from gateway.endpoints.admin.calls import AdminAnswer
from gateway.endpoints.html import Html, html, join_html
from gateway.kept_ledger.usage_formats import short_dollar_text

NOTHING: Final = Html("")
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


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[object]], total: Sequence[object] = (),
          empty: str = "There is nothing yet.", is_titled: bool = True) -> Html:  # fmt: skip
    """Return a table whose first column has the names of its rows, with the row ``total`` at its end.

    ``is_titled``: the heading above it states the caption, which is then only for screen readers."""
    if not rows:
        return html('<p class="soft">{text}</p>', text=empty)
    heads = [
        html('<th scope="col" role="columnheader"{number}>{title}</th>', number=_number(column), title=column.title)
        for column in columns
    ]
    foot = html('<tfoot role="rowgroup">{row}</tfoot>', row=_row(columns, total)) if total else NOTHING
    return html(
        """<table role="table"><caption{unseen}>{caption}</caption>
<thead role="rowgroup"><tr role="row">{heads}</tr></thead>
<tbody role="rowgroup">
{rows}
</tbody>{foot}</table>""",
        caption=caption, unseen=Html(' class="unseen"') if is_titled else NOTHING, heads=join_html(heads),
        rows=join_html(_row(columns, row) for row in rows), foot=foot,
    )  # fmt: skip


def _row(columns: Sequence[Column], values: Sequence[object]) -> Html:
    first, *others = map(cell, values)
    return html(
        '<tr role="row"><th scope="row" role="rowheader">{first}</th>{cells}</tr>',
        first=first, cells=join_html(map(_cell, columns[1:], others)),
    )  # fmt: skip


def _cell(column: Column, value: Html) -> Html:
    if not value:
        return html('<td role="cell"></td>')
    return html(
        '<td role="cell" data-label="{title}"{number}><div>{value}</div></td>',
        title=column.title, number=_number(column), value=value,
    )  # fmt: skip


def _number(column: Column) -> Html:
    return Html(' class="number"') if column.is_number else NOTHING


def cell(value: object) -> Html:
    """Return a value for readers. Names are isolated: text from right to left must not move its surroundings."""
    if isinstance(value, Html):
        return value
    if value in (None, "", (), []):
        return html('<span class="soft">–</span>')
    if isinstance(value, list | tuple):
        return html("<bdi>{text}</bdi>", text=", ".join(map(str, value)))
    return html("<bdi>{text}</bdi>", text=value)


def money(usd: object) -> Html:
    """Return decimal dollars to a hundredth of a cent, with all digits as a tooltip."""
    return html('<span title="{usd}">{short}</span>', usd=usd, short=short_dollar_text(Decimal(str(usd))))


def facts(pairs: Sequence[tuple[str, object]]) -> Html:
    return html("<dl>{rows}</dl>", rows=join_html(
        html("<dt>{name}</dt><dd>{value}</dd>", name=name, value=cell(value)) for name, value in pairs
    ))  # fmt: skip


def section(title: str, *parts: Html) -> Html:
    """Return a part of a page with its heading."""
    return html("<section><h2>{title}</h2>\n{content}</section>", title=title, content=join_html(parts))


def moment(text: str | None) -> Html:
    """Return a time as HTML for the page, to the minute."""
    if text is None:
        return cell(None)
    shown = text[:16].replace("T", " ")
    return html('<time datetime="{text}">{shown} UTC</time>', text=text, shown=shown)


def link(path: str, text: object, **query: str) -> Html:
    """Return a link to a page."""
    to = path if not query else f"{path}?{urlencode(query)}"
    return html('<a href="{to}"><bdi>{text}</bdi></a>', to=to, text=text)


def notice(text: object) -> Html:
    return html('<p class="notice" role="status">{text}</p>', text=text)


def problem(text: str) -> Html:
    """Return an error as a paragraph of the page."""
    return html('<p class="error" role="alert"><strong>Error:</strong> {text}</p>', text=text[:1].upper() + text[1:])


def problem_of(answer: AdminAnswer) -> Html:
    """Return an error of the API as a paragraph of the page."""
    return problem(str(answer.value["error"]["message"]))


def file_lines(lines: Mapping[str, Any], place: str, name: str) -> Html:
    """Return the lines of the configuration's file to change: the item ``name`` of the list ``place``.

    Settings that are ``None`` are left out. No page edits the file."""
    text = [f"{place}:", f"  - name: {yaml_text(name)}"]
    text += [
        f"    {key}: {yaml_text(value)}"
        for key, value in lines.items()
        if value or (value is not None and key in _EMPTY_COUNTS)
    ]
    return html(
        '<p>This is in the configuration file. Change it there, then reload the gateway:</p>\n'
        '<pre tabindex="0" aria-label="Lines of the file">{text}</pre>',
        text="\n".join(text),
    )  # fmt: skip


def yaml_text(value: Any) -> str:
    """Return a value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml_text(key)}: {yaml_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


# Forms


def form(path: str, action: str, button: str, *fields: Html, hidden: Mapping[str, str] | None = None,
         is_second: bool = False) -> Html:  # fmt: skip
    """Return a form that does ``action`` on the page at ``path``."""
    kept = [
        html('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)
        for name, value in {"action": action, **(hidden or {})}.items()
    ]
    return html(
        """<form method="post" action="{path}">{kept}
{fields}
<div class="actions"><button{kind}>{button}</button></div>
</form>""",
        path=path, kept=join_html(kept), fields=join_html(fields), button=button,
        kind=Html(' class="second"') if is_second else NOTHING,
    )  # fmt: skip


def field(id: str, name: str, label: str, value: str = "", hint: str = "", *, kind: LiteralString = "text",
          is_required: bool = False) -> Html:  # fmt: skip
    """Return a field with its label and hint. ``id`` is unique in the page."""
    return html(
        """<div class="field"><label for="{id}">{label}{optional}</label>
<input id="{id}" name="{name}" type="{kind}" value="{value}" autocomplete="off" spellcheck="false"
{required}{described}>
{hint}</div>""",
        id=id, name=name, label=label, value=value, kind=kind,
        optional=NOTHING if is_required else Html(' <span class="soft">(optional)</span>'),
        required=Html(" required") if is_required else NOTHING,
        described=html(' aria-describedby="{id}-hint"', id=id) if hint else NOTHING,
        hint=html('<p id="{id}-hint" class="hint">{hint}</p>', id=id, hint=hint) if hint else NOTHING,
    )  # fmt: skip


def choice(id: str, name: str, label: str, options: Sequence[tuple[str, str]], chosen: str = "") -> Html:
    """Return a list of ``options``, each with its value and text."""
    shown = [
        html('<option value="{value}"{chosen}>{text}</option>', value=value, text=text,
             chosen=Html(" selected") if value == chosen else NOTHING)
        for value, text in options
    ]  # fmt: skip
    return html(
        """<div class="field"><label for="{id}">{label}</label>
<select id="{id}" name="{name}">{options}</select></div>""",
        id=id, name=name, label=label, options=join_html(shown),
    )  # fmt: skip


def details(title: str, *parts: Html, is_open: bool = False) -> Html:
    """Return parts that are hidden until a person opens them: forms, and a second step before a loss."""
    return html("<details{open}><summary>{title}</summary>\n{content}</details>", title=title, content=join_html(parts),
                open=Html(" open") if is_open else NOTHING)  # fmt: skip


def next_page(path: str, answer: AdminAnswer, query: Mapping[str, str]) -> Html:
    """Return the link to the next part of a list."""
    following = answer.value.get("next")
    if following is None:
        return NOTHING
    to = f"{path}?{urlencode({**query, 'after': following})}"
    return html('<p><a href="{to}">Next page</a></p>', to=to)
