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

_BATCH_LINES: Final = ("batch_line", "batch_result")


@attrs.frozen(eq=False)
class TextTable:
    """The shape of a request. ``part`` is that of its texts without a part of their own.

    ``spell`` returns the spelling of a member's name in the table."""

    shape: Shape
    part: Part = "other"
    spell: Callable[[str], str] | None = None


@cache
def table_for(api: str) -> TextTable:
    """Return the table of an API or endpoint, or of a ``batch_line`` or ``batch_result``.

    For other names, each member is text."""
    if api in APIS:
        module = import_module(f"gateway.features.steps.tables.{api}")
        return TextTable(module.REQUEST, spell=getattr(module, "camel_case", None))
    if api not in (*ENDPOINTS, "conversations", *_BATCH_LINES):
        return TextTable(Shape(members={}))
    tables = import_module("gateway.features.steps.tables.endpoints")
    return TextTable(tables.OWN.get(api, tables.REQUEST), "assistant" if api in _BATCH_LINES else "other")


@cache
def answer_table_for(api: str) -> TextTable:
    """Return the table of the responses of an API or endpoint, and of the events of its streams."""
    if api in APIS:
        module = import_module(f"gateway.features.steps.tables.{api}")
        return TextTable(module.ANSWER, spell=getattr(module, "camel_case", None))
    if api not in ENDPOINTS:
        return TextTable(Shape(members={}))
    tables = import_module("gateway.features.steps.tables.endpoints")
    return TextTable(tables.OWN_ANSWERS.get(api, tables.ANSWER), "assistant" if api in tables.OWN_ANSWERS else "other")


@cache
def native_table_for(api: str) -> TextTable:
    """Return the table of the items of an API that readers report whole, such as calls of a server's tools."""
    if api not in APIS:
        return TextTable(Shape(members={}))
    module = import_module(f"gateway.features.steps.tables.{api}")
    return TextTable(module.NATIVE, spell=getattr(module, "camel_case", None))
