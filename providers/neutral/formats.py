"""Structured output for APIs without it, or with conditions of their own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from providers.neutral.fields import Drops
from providers.neutral.request import Format, Message, Request, TextPart
from providers.neutral.schemas import inner_schemas, map_schemas

_JSON: Final = "Answer with a single JSON object and nothing else: no explanation and no code fence."
_SCHEMA: Final = (
    "Answer with JSON that is valid against this JSON Schema, and nothing else: no explanation, no code fence."
)


def with_format(request: Request, enforced: bool, drops: Drops) -> tuple[Message, ...]:
    """Return the messages, with an instruction in place of a format that is not ``enforced``; report it as dropped.

    It follows the last message that is not the model's, because it depends on one request's settings. At the end of the
    leading instructions it would change the prefix of the next request, and no cache would serve the conversation.
    A hidden tool would not work: thinking excludes forced tools, and the client would see its call
    (BerriAI/litellm#8883, #34230).
    """
    messages, format = request.messages, request.format
    if format is None or enforced:
        return messages
    drops.add(format.at)
    hint = describe_schema(schema_with_description(format) if format.kind != "json_object" else {})
    end = end_of_prompt([message.role for message in messages])
    return (*messages[:end], Message("system", (TextPart(hint),)), *messages[end:])


def end_of_prompt(roles: Sequence[str | None]) -> int:
    """Return the place after the last message that is not the model's, from the roles of all messages."""
    return next((place for place in range(len(roles), 0, -1) if roles[place - 1] != "assistant"), 0)


def describe_schema(schema: Any) -> str:
    """Return the instruction to answer with JSON that is valid against ``schema``, if it has any content."""
    return f"{_SCHEMA}\n\n{msgspec.json.encode(schema).decode()}" if schema else _JSON


def format_in_words(text: str) -> Format | None:
    """Return the format that ``with_format`` has written into ``text``, for a stand-in of a model."""
    if _SCHEMA in text:
        return Format("json_schema", schema=_first_json(text.partition(_SCHEMA)[2].lstrip()))
    return Format("json_object") if _JSON in text else None


def _first_json(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError:
        return None


def schema_with_description(format: Format) -> Any:
    """Return the schema with OpenAI's separate description."""
    schema = format.schema if isinstance(format.schema, Mapping) else {}
    return {"description": format.description, **schema} if format.description else schema


def can_be_closed(format: Format) -> bool:
    """Return whether closing every object of the schema keeps its meaning.

    ``strict`` means closed objects. Otherwise an object without named members could only be empty.
    """
    return format.kind == "json_schema" and (format.strict is True or not _has_open_object(format.schema))


def _has_open_object(schema: Any) -> bool:
    """Return whether an object in ``schema`` allows members that it does not name."""
    if not isinstance(schema, dict):
        return False
    nameless = not schema.get("properties")
    if schema.get("type") == "object" and schema.get("additionalProperties", nameless) is not False:
        return True
    return any(map(_has_open_object, inner_schemas(schema)))


def close_objects(schema: Any) -> Any:
    """Add ``additionalProperties: false`` to every object without it, as Anthropic requires."""
    return map_schemas(schema, _close)


def _close(schema: dict[str, Any]) -> None:
    if schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
