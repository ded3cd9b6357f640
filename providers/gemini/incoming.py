"""A client's request, read into a ``Request``. Its turns are in ``contents`` and ``parts``, its tools in ``offered``.

Source: the API's reference, the types of the google-genai package, and what Gemini CLI sends.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.gemini.contents import read_contents, read_instruction
from providers.gemini.declared import json_schema
from providers.gemini.offered import read_choice, read_tools
from providers.gemini.spellings import GeminiFields, spelled
from providers.neutral.fields import Drops
from providers.neutral.parameters import ROWS, read_parameters
from providers.neutral.request import Format, Parameter, Reasoning, Request
from streams.errors import invalid

_COUNTS: Final = frozenset(row.gemini for row in ROWS if row.gemini and row.kind is int)
_UNSAID: Final = ("THINKING_LEVEL_UNSPECIFIED",)
_DYNAMIC: Final = -1
"""The budget that leaves it to the model."""

_TEXT: Final = "text/plain"


def read_request(body: Mapping[str, Any]) -> Request:
    """See ``Codec.read_request``. Raises a 400 for ``cachedContent``, which only Google can serve."""
    fields = GeminiFields(body)
    if fields.any("cachedContent") is not None:
        at = fields.path("cachedContent")
        raise invalid(f"{at} cannot be honoured by this model's provider: send the whole content", at)
    return _read(body)


def read_count_request(body: Mapping[str, Any]) -> Request:
    """See ``Codec.read_count``: what is counted stands in the body itself, or in its ``generateContentRequest``."""
    inner = body.get(spelled(body, "generateContentRequest"))
    return _read(inner if isinstance(inner, Mapping) else body)


def _read(body: Mapping[str, Any]) -> Request:
    fields, drops = GeminiFields(body), Drops()
    messages = (*read_instruction(fields, drops), *read_contents(fields, drops))
    tools, choice = read_tools(fields, drops), read_choice(fields, drops)
    config = GeminiFields.of(fields.any("generationConfig") or {}, fields.path("generationConfig"))
    reasoning, format = _reasoning(config, drops), _format(config, drops)
    parameters = _parameters(config)
    drops.rest(config)
    fields.ignore("model")  # the path says it
    drops.rest(fields)
    return Request(
        "gemini", "", messages, tools=tools, tool_choice=choice, reasoning=reasoning, format=format,
        parameters=parameters, source=body, dropped=drops.paths(),
    )  # fmt: skip


def _parameters(config: GeminiFields) -> dict[str, Parameter]:
    """The settings. Programs write 40 as 40.0 (``topK`` is a number in google-genai), and 64 bits as a text."""
    for member in _COUNTS:
        name = spelled(config.data, member)
        value = config.data.get(name)
        if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and value.isdecimal()):
            config.data = {**config.data, name: int(value)}
    return read_parameters(config, "gemini")


def _reasoning(config: GeminiFields, drops: Drops) -> Reasoning | None:
    thinking = config.object("thinkingConfig")
    if thinking is None:
        return None
    budget, level = thinking.integer("thinkingBudget"), thinking.word("thinkingLevel")
    summary = "auto" if thinking.boolean("includeThoughts") else None
    drops.rest(thinking)
    if level is not None and level not in _UNSAID:
        return Reasoning("enabled", level.lower(), summary=summary, at=thinking.at)
    if budget is None or budget == _DYNAMIC:
        return Reasoning("adaptive", summary=summary, at=thinking.at) if summary or budget is not None else None
    if budget == 0:
        return Reasoning("disabled", at=thinking.at)
    return Reasoning("enabled", budget=budget, summary=summary, at=thinking.at)


def _format(config: GeminiFields, drops: Drops) -> Format | None:
    kind = (config.string("responseMimeType") or _TEXT).lower()
    native = config.any("responseJsonSchema")
    schema, at = config.any("responseSchema"), config.path("responseSchema")
    if native is not None:
        schema, at = native, config.path("responseJsonSchema")
    else:
        schema = json_schema(schema)
    if kind == _TEXT and schema is None:
        return None
    if kind not in (_TEXT, "application/json"):  # text/x.enum: the schema says which words there are
        drops.add(config.path("responseMimeType"))
    if schema is None:
        return Format("json_object", at=config.path("responseMimeType")) if kind == "application/json" else None
    return Format("json_schema", schema=schema, at=at)
