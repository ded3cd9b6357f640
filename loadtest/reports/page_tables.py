"""Tables of a page, each of which is scrolled by itself where it is too wide."""

from collections.abc import Container, Iterable, Sequence
from html import escape
from typing import Any, Final

_NAME: Final = 16  # characters of a heading from which on it is wrapped


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Container[int] = (0,)) -> str:
    """A table whose columns with these numbers hold ``text`` rather than figures."""

    def cell(tag: str, i: int, value: Any) -> str:
        kind = ' class="text"' if i in text else ' class="ratio"' if str(value).startswith("×") else ""
        kind = ' class="named"' if tag == "th" and len(str(value)) > _NAME else kind
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    body = "".join(f"<tr>{''.join(cell('td', i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    top = "".join(cell("th", i, value) for i, value in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
