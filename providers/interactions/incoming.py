"""Reader of an Interactions client's request into a ``Request``: settings, tools, tool choice and format.

``steps`` reads its input. Source: ``CreateModelInteraction`` and ``GenerationConfig`` of the google-genai package.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from providers.gemini.shared_members import TIERS
from providers.interactions.steps import read_input
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.parameters import read_parameters
from providers.neutral.request import (
    Format,
    Message,
    NativeTool,
    Parameter,
    Reasoning,
    Request,
    TextPart,
    Tool,
    ToolChoice,
)
from streams.errors import invalid

REFUSED: Final = ("agent", "agent_config", "environment", "webhook_config", "continuation_token")
"""Members that only Google can serve. A request with one fails at other providers, instead of losing it."""

_MODES: Final[Mapping[str, Literal["auto", "none", "required"]]] = {
    "auto": "auto", "validated": "auto", "none": "none", "any": "required",
}  # fmt: skip
_MEDIA: Final = ("image", "audio", "video")
_JSON: Final = "application/json"
_FORMATS: Final = ("", "text/plain", _JSON)
_MARKS: Final = ("defer_loading", "short_description")
"""Members of a function that only this API knows."""


def read_request(body: Mapping[str, Any]) -> Request:
    """Return the client's request. See ``Codec.read_request``."""
    fields, drops = Fields(body), Drops()
    for name in REFUSED:
        if fields.value(name) is not None:
            raise invalid(f"{name} is only supported by Google's own models and agents: remove it", name)
    for i, word in enumerate(fields.array("response_modalities") or ()):
        if str(word).lower() != "text":
            _refuse_media(join_path("response_modalities", i))
    text, at = fields.string("system_instruction"), fields.path("system_instruction")
    instructions = (Message("system", (TextPart(text, at),), at),) if text else ()
    messages = (*instructions, *read_input(fields, drops))
    config = fields.object("generation_config") or Fields({}, "generation_config")
    choice, reasoning = _read_choice(config, drops), _read_reasoning(config, drops)
    parameters = {**read_parameters(config, "interactions"), **_read_settings(fields, drops)}
    drops.add_unread(config)
    tools, format = tuple(_read_tools(fields, drops)), _read_format(fields, drops)
    model, stream = fields.string("model") or "", fields.boolean("stream") or False
    drops.add_unread(fields)
    return Request(
        "interactions", model, messages, stream, tools=tools, tool_choice=choice, reasoning=reasoning, format=format,
        parameters=parameters, source=body, dropped=drops.paths(),
    )  # fmt: skip


def read_count_request(body: Mapping[str, Any]) -> Request:
    """Return the request to count. See ``Codec.read_count``."""
    return read_request(body)


def _refuse_media(at: str) -> None:
    raise invalid(f"{at} must be text: this model's provider supports no other output of this API", at)


# Tools


def _read_tools(fields: Fields, drops: Drops) -> Iterator[Tool | NativeTool]:
    for tool in fields.objects("tools"):
        kind = tool.need("type", str)
        if kind != "function":
            yield NativeTool("interactions", kind, tool.data, tool.at)
            continue
        marks = {name: value for name in _MARKS if (value := tool.value(name)) is not None}
        yield Tool(
            tool.need("name", str), tool.string("description"), tool.value("parameters"), at=tool.at, marks=marks
        )  # fmt: skip
        drops.add_unread(tool)


def _read_choice(config: Fields, drops: Drops) -> ToolChoice | None:
    value, at = config.value("tool_choice"), config.path("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        return ToolChoice(_read_mode(value, at), at=at)
    choice = Fields.of(value, at)
    allowed = choice.object("allowed_tools")
    drops.add_unread(choice)
    if allowed is None:
        return None
    mode = _read_mode(allowed.string("mode") or "auto", allowed.path("mode"))
    names = tuple(expect(name, str, allowed.path("tools")) for name in allowed.array("tools") or ())
    drops.add_unread(allowed)
    if mode == "none" or not names:
        return ToolChoice(mode, at=at)
    if mode == "required" and len(names) == 1:
        return ToolChoice("tool", names[0], at=at)
    return ToolChoice(mode, allowed=names, at=at)


def _read_mode(word: str, at: str) -> Literal["auto", "none", "required"]:
    mode = _MODES.get(word.lower())
    if mode is None:
        raise invalid(f'{at} must be auto, any, none or validated, not "{word[:40]}"', at)
    return mode


# Settings


def _read_reasoning(config: Fields, drops: Drops) -> Reasoning | None:
    level, shown = config.string("thinking_level"), config.string("thinking_summaries")
    at, shown_at = config.path("thinking_level"), config.path("thinking_summaries")
    summary = Parameter("auto", shown_at) if shown is not None and shown.lower() == "auto" else None
    if level is not None:
        return Reasoning("enabled", level.lower(), summary=summary, at=at)
    return None if summary is None else Reasoning("adaptive", summary=summary, at=shown_at)


def _read_settings(fields: Fields, drops: Drops) -> dict[str, Parameter]:
    """Return the settings outside of ``generation_config``."""
    found: dict[str, Parameter] = {}
    for name, neutral, kind in _OUTER:
        value: Any = fields.boolean(name) if kind is bool else fields.string(name)
        if value is not None:
            found[neutral] = Parameter(value, name)
    if (tier := found.pop("service_tier", None)) is not None:
        if (word := TIERS.get(tier.value.lower())) is None:
            drops.add(tier.at)
        else:
            found["service_tier"] = Parameter(word, tier.at)
    return found


_OUTER: Final = (
    ("store", "store", bool),
    ("background", "background", bool),
    ("previous_interaction_id", "previous_response_id", str),
    ("service_tier", "service_tier", str),
)
"""Settings by their name, with the neutral name and the type."""


def _read_format(fields: Fields, drops: Drops) -> Format | None:
    """Return the answer's format: one object, a list of objects, or only a schema as before July 2026."""
    value, at = fields.value("response_format"), fields.path("response_format")
    kind = (fields.string("response_mime_type") or "").lower()
    if kind not in _FORMATS:
        drops.add(fields.path("response_mime_type"))
    if isinstance(value, list):
        found = [one for i, item in enumerate(value) if (one := _read_format_item(item, join_path(at, i), kind, drops))]
        drops.add(*(one.at for one in found[1:]))
        return found[0] if found else None
    if value is not None:
        return _read_format_item(value, at, kind, drops)
    return Format("json_object", at="response_mime_type") if kind == _JSON else None


def _read_format_item(value: Any, at: str, default_media_type: str, drops: Drops) -> Format | None:
    format = Fields.of(value, at)
    kind = format.value("type")
    if kind in _MEDIA:
        _refuse_media(format.path("type"))
    if kind != "text":  # a schema
        return Format("json_schema", schema=value, at=at)
    media_type, schema = (format.string("mime_type") or default_media_type).lower(), format.value("schema")
    drops.add_unread(format)
    if media_type not in _FORMATS:
        drops.add(format.path("mime_type") if format.string("mime_type") else "response_mime_type")
    if schema is not None:
        return Format("json_schema", schema=expect(schema, dict, format.path("schema")), at=at)
    return Format("json_object", at=at) if media_type == _JSON else None
