"""Reader of an Interactions client's request into a ``Request``: input, settings, tools, tool choice and format.

The input is text, content, a list of contents, or a list of steps. Steps of the model that follow each other become one
message, and so do the results that follow each other. Source: ``CreateModelInteraction``, ``GenerationConfig``,
``InteractionsInput`` and ``Step`` of the google-genai package.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from providers.gemini.shared_members import TIERS
from providers.interactions.media import KINDS, read_media
from providers.neutral.codec import derived_call_id
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.parameters import read_parameters
from providers.neutral.request import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Part,
    Reasoning,
    ReasoningPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.seal import is_sealed, split_seal, unseal
from streams.errors import invalid

Speaker: TypeAlias = Literal["user", "assistant", "result"]
_ReadStep: TypeAlias = Callable[[Fields, Drops], Iterator[Part]]

CONTENTS: Final = ("text", *KINDS)
PLACEHOLDER: Final = "skip_thought_signature_validator"
"""Google's documented placeholder for the signature of an unsigned call."""


def read_input(fields: Fields, drops: Drops) -> tuple[Message, ...]:
    """Return the messages of ``input``. Raises a 400 if there are none."""
    value, at = fields.value("input"), fields.path("input")
    if not value:
        raise invalid("input is required: send the text or the steps of the conversation in it", at)
    return read_steps(value, at, drops)


def read_steps(value: Any, at: str, drops: Drops) -> tuple[Message, ...]:
    """Return the messages of the input ``value`` at the path ``at``."""
    if isinstance(value, str):
        return (Message("user", (TextPart(value, at),), at),)
    history = _History(drops)
    if isinstance(value, list):
        for i, item in enumerate(value):
            place = join_path(at, i)
            history.read(Fields.of({"type": "text", "text": item} if isinstance(item, str) else item, place))
    else:
        history.read(Fields.of(value, at))
    return history.messages()


class _History:
    """The messages read so far; the last one may grow."""

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._messages: list[Message] = []
        self._parts: list[Part] = []  # of the open message
        self._speaker: Speaker = "user"
        self._at = ""

    def read(self, item: Fields) -> None:
        kind = item.need("type", str)
        if kind in CONTENTS:
            self._add("user", item.at, _read_content(item, kind, self._drops))
        elif kind == "user_input":
            self._end_message()
            self._add("user", item.at, tuple(_read_contents(item, self._drops)))
            self._end_message()
        elif kind == "function_result":
            self._add("result", item.at, (_read_result(item, self._drops),))
        else:
            read = _MODEL_STEPS.get(kind, _read_native)
            self._add("assistant", item.at, tuple(read(item, self._drops)))

    def messages(self) -> tuple[Message, ...]:
        self._end_message()
        return tuple(self._messages)

    def _add(self, speaker: Speaker, at: str, parts: tuple[Part, ...]) -> None:
        if speaker != self._speaker:
            self._end_message()
        if not self._parts:
            self._speaker, self._at = speaker, at
        self._parts += parts

    def _end_message(self) -> None:
        if self._parts:
            role: Literal["user", "assistant"] = "assistant" if self._speaker == "assistant" else "user"
            self._messages.append(Message(role, tuple(self._parts), self._at))
        self._parts = []


def _read_contents(step: Fields, drops: Drops) -> Iterator[Part]:
    """Yield the parts of ``content``: a text, one content or a list of contents."""
    value, at = step.value("content"), step.path("content")
    drops.add_unread(step)
    if isinstance(value, str):
        yield from (TextPart(value, at),) if value else ()
        return
    several = value if isinstance(value, list) else [] if value is None else [value]
    for i, item in enumerate(several):
        place = join_path(at, i) if isinstance(value, list) else at
        if isinstance(item, str):
            yield TextPart(item, place)
            continue
        content = Fields.of(item, place)
        yield from _read_content(content, content.need("type", str), drops)


def _read_content(content: Fields, kind: str, drops: Drops) -> tuple[Part, ...]:
    if kind == "text":
        text = content.need("text", str)
        drops.add_unread(content)
        return (TextPart(text, content.at),) if text else ()
    if kind in KINDS:
        return (read_media(content, kind, drops),)
    if kind == "function_result":
        return (_read_result(content, drops),)
    return tuple(_read_native(content, drops))


# Steps of the model


def _read_output(step: Fields, drops: Drops) -> Iterator[Part]:
    """Yield the texts of a ``model_output``; its other contents are this API's own."""
    for i, item in enumerate(step.array("content") or ()):
        content = Fields.of(item, join_path(step.path("content"), i))
        if content.need("type", str) == "text":
            yield from _read_content(content, "text", drops)
        else:
            yield from _read_native(content, drops)
    drops.add_unread(step)


def _read_thought(step: Fields, drops: Drops) -> Iterator[Part]:
    """Yield the reasoning of a ``thought``, with its signature or the seal in its place."""
    signature = step.string("signature") or ""
    texts = [text for one in step.objects("summary") if isinstance(text := one.value("text"), str)]
    text = "".join(texts)
    drops.add_unread(step)
    if not is_sealed(signature):
        if text or (signature and signature != PLACEHOLDER):
            yield ReasoningPart(text, native=step.data, at=step.at)
        return
    if (seal := unseal(signature)) is None:
        drops.add(step.path("signature"))
        if text:
            yield ReasoningPart(text, native={"type": "thought"}, at=step.at)
        return
    seal, own = split_seal(seal)
    yield ReasoningPart(text or own, seal, at=step.at)


def _read_call(step: Fields, drops: Drops) -> Iterator[Part]:
    name, id, arguments = step.need("name", str), step.string("id") or derived_call_id(step.at), step.value("arguments")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode({} if arguments is None else arguments).decode()
    drops.add_unread(step)
    yield ToolCallPart(id, name, arguments, at=step.at)


def _read_native(step: Fields, drops: Drops) -> Iterator[Part]:
    """Yield a step or content that only this API can express, whole."""
    yield NativePart("interactions", str(step.data.get("type")), step.data, step.at)


_MODEL_STEPS: Final[Mapping[str, _ReadStep]] = {
    "model_output": _read_output, "thought": _read_thought, "function_call": _read_call,
}  # fmt: skip


# Results


def _read_result(step: Fields, drops: Drops) -> ToolResultPart:
    """Return a result. Raises a 400 without ``call_id``, which Google also refuses (google/adk-python#4381)."""
    if not (call_id := step.need("call_id", str)):
        at = step.path("call_id")
        raise invalid(f"{at} is required: send the id of the function_call", at)
    step.ignore("name", "type")  # the call has the name
    failed, value, at = bool(step.boolean("is_error")), step.value("result"), step.path("result")
    drops.add_unread(step)
    return ToolResultPart(call_id, tuple(_result_parts(value, at, drops)), failed, at=step.at)


def _result_parts(value: Any, at: str, drops: Drops) -> Iterator[TextPart | ImagePart | FilePart]:
    """Yield the parts of a result, which may be a text, any object, or a list of contents."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and "type" in one for one in value):
        text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield from (TextPart(text, at),) if text else ()
        return
    for i, item in enumerate(value):
        content = Fields.of(item, join_path(at, i))
        kind = content.need("type", str)
        for part in _read_content(content, kind, drops) if kind in CONTENTS else ():
            if isinstance(part, AudioPart):
                media_type = str(content.data.get("mime_type") or "audio/wav")
                yield FilePart(MediaSource("base64", str(content.data.get("data")), media_type), at=part.at)
            elif isinstance(part, TextPart | ImagePart | FilePart):
                yield part
        if kind not in CONTENTS:
            drops.add(content.at)


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
