"""The tables of the texts in requests: ``chat``, ``messages``, ``responses``, ``gemini``, ``converse``,
``interactions``, and ``endpoints`` for other requests. A table is imported with its first use."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Final

import attrs

from gateway.features.steps.shapes import Shape
from providers.endpoints.endpoint import ENDPOINTS
from trigate.steps import Part

APIS: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")

DETAILS_API: Final = "messages"
"""The API of the details of an answer's end."""


@attrs.frozen(eq=False)
class TextTable:
    """The shape of a request. ``part`` is that of its texts without a part of their own.

    ``spell`` returns the spelling of a member's name in the table."""

    shape: Shape
    part: Part = "other"
    spell: Callable[[str], str] | None = None


@cache
def table_for(api: str) -> TextTable:
    """Return the table of an API or endpoint, or of a ``batch_line`` or ``batch_result``."""
    return _table(api, "REQUEST")


@cache
def answer_table_for(api: str) -> TextTable:
    """Return the table of the responses of an API or endpoint, and of the events of its streams."""
    return _table(api, "ANSWER")


@cache
def native_table_for(api: str) -> TextTable:
    """Return the table of the items of an API that readers report whole, such as calls of a server's tools."""
    return _table(api, "NATIVE")


def _table(api: str, name: str) -> TextTable:
    """Return the table ``name`` of an API or endpoint. For another one, each member is text."""
    if api in APIS:
        module = import_module(f"gateway.features.steps.tables.{api}")
        return TextTable(getattr(module, name), spell=getattr(module, "camel_case", None))
    tables = import_module("gateway.features.steps.tables.endpoints")
    if (own := tables.OWN.get((api, name))) is not None:
        return own  # type: ignore[no-any-return]
    return TextTable(getattr(tables, name) if api in ENDPOINTS and name != "NATIVE" else Shape(members={}))
