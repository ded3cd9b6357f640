"""The tables of the texts in requests: ``chat``, ``messages`` and ``responses``."""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from gateway.steps.shapes import Shape
from gateway.steps.tables import chat, messages, responses
from trigate.steps import Part


@attrs.frozen(eq=False)
class TextTable:
    """The shape of a request. ``part`` is that of its texts without a part of their own.

    ``spell`` returns the spelling of a member's name in the table."""

    shape: Shape
    part: Part = "other"
    spell: Callable[[str], str] | None = None


TABLES: Final[Mapping[str, TextTable]] = {
    "chat": TextTable(chat.REQUEST),
    "messages": TextTable(messages.REQUEST),
    "responses": TextTable(responses.REQUEST),
}


_UNKNOWN: Final = TextTable(Shape(members={}))


def table_for(api: str) -> TextTable:
    """Return the table of an API or endpoint. Of others, each member is text."""
    return TABLES.get(api, _UNKNOWN)
