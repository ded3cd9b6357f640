"""A minimal request for every field in the official SDKs' parameter types.

The types are walked by reflection, so a new SDK version adds its new fields automatically. A sample is a request with
the field and the same request without it; their difference is the field's effect on a translation.
"""

import copy
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NotRequired, Required, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs
import typing_extensions
from anthropic.types.beta import message_create_params as messages_params
from google.genai.interactions import CreateModelInteractionParam
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as responses_params

from tests.support.converse_fields import converse_request
from tests.support.gemini_fields import GenerateContentRequest

PARAMS: dict[str, Any] = {
    "chat": chat_params.CompletionCreateParamsBase,
    "messages": messages_params.MessageCreateParamsBase,
    "responses": responses_params.ResponseCreateParamsBase,
    "gemini": GenerateContentRequest,
    "converse": converse_request(),
    "interactions": CreateModelInteractionParam,
}
# SDK arguments that become headers, or that the SDK itself consumes.
NOT_IN_BODY = {"messages": {"betas", "user_profile_id", "workspace_id"}, "converse": {"modelId"}}
# Members that the types do not list: those that the 2023-06-01 version has still, and those that Open Responses adds.
UNLISTED: dict[str, dict[str, Any]] = {
    "messages": {"temperature": float, "top_p": float, "top_k": int},
    "responses": {"frequency_penalty": float, "presence_penalty": float},
}

NO_PARAMETERS = {"type": "object", "properties": {}}
COMPANIONS: dict[str, dict[str, Any]] = {
    "BetaCompactionBlockParam": {"content": "Notes."},
    "ImageGenerationCall": {"result": "aGk="},
    "ContentDict": {"role": "user", "parts": [{"text": "hi"}]},
    "BlobDict": {"mimeType": "image/png", "data": "aGk="},
    "FileDataDict": {"fileUri": "https://example.com/a.png", "mimeType": "image/png"},
    "FunctionCallDict": {"name": "f", "args": {}},
    "FunctionResponseDict": {"name": "f", "response": {"result": "done"}},
    "FunctionDeclarationDict": {"name": "g"},
    "SafetySettingDict": {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
    "ImageContentParam": {"uri": "https://example.com/a.png", "mime_type": "image/png"},
    "AudioContentParam": {"uri": "https://example.com/a.wav", "mime_type": "audio/wav"},
    "DocumentContentParam": {"uri": "https://example.com/a.pdf", "mime_type": "application/pdf"},
    "VideoContentParam": {"uri": "https://example.com/a.mp4", "mime_type": "video/mp4"},
    "FunctionParam": {"name": "g"},
}
"""Members without which the others of a type have no effect."""

DEPTH = 6  # of objects within objects; deeper ones are schemas and the like, which are carried whole

# A sensible value where the type alone gives none, by the last two names of the path or the last one.
VALUES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 4000,
    "budget_tokens": 2048,
    "url": "https://example.com/a.png",
    "image_url.url": "https://example.com/a.png",
    "image_url": "https://example.com/a.png",
    "file_url": "https://example.com/a.pdf",
    "file_data": "data:application/pdf;base64,aGk=",
    "data": "aGk=",
    "arguments": "{}",
    "tool_use_id": "call_1",
    "tool_call_id": "call_1",
    "call_id": "call_1",
    "name": "f",
    "id": "x_1",
    "encrypted_content": "gAAA",
    "signature": "c2ln",
    "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
    "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
    "inputSchema.json": {"type": "object", "properties": {"a": {"type": "string"}}},
    "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}},
    "responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}},
    "responseMimeType": "application/json",
    "uri": "https://example.com/a.png",
    "fileUri": "https://example.com/a.png",
    "bytes": "aGk=",
    "toolUseId": "call_1",
    "mime_type": "application/json",
    "contents.role": "model",
    "topK": 7,
    "additionalModelRequestFields": {"top_k": 7},
    "outputConfig.effort": "low",
    "jsonSchema.schema": '{"type": "object"}',
    "response_mime_type": "application/json",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    "input": {"a": 1},
    "custom.input": "text",
    "input.result": "aGV5",
    "result.text": "aGV5",
    "temperature": 0.5,
    "top_p": 0.5,
    "n": 2,
    "stop": ["END"],
    "stop_sequences": ["END"],
    "top_logprobs": 2,
    "max_output_tokens": 4000,
    "max_completion_tokens": 4000,
    "user_id": "user-1",
}


@attrs.frozen
class Sample:
    """A request for one field.

    ``path`` is in the format of the drop report, with the kinds of union members in angle brackets.
    """

    api: str
    path: str
    kinds: tuple[str, ...]
    with_field: dict[str, Any]
    without: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.path}{''.join(f' <{kind}>' for kind in self.kinds)}"


def base(api: str) -> dict[str, Any]:
    """Return a minimal conversation with a tool call and its result, so that all references are valid."""
    if api == "chat":
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        return {
            "model": "m",
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": NO_PARAMETERS}}],
        }
    if api == "messages":
        return {
            "model": "m",
            "max_tokens": 4001,
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]},
            ],
            "tools": [{"name": "f", "input_schema": NO_PARAMETERS}],
        }
    if api in OTHERS:
        return copy.deepcopy(OTHERS[api])
    return {
        "model": "m",
        "input": [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "done"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": NO_PARAMETERS, "strict": False}],
    }


OTHERS: dict[str, dict[str, Any]] = {
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "call_1", "name": "f", "args": {}}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "call_1", "name": "f", "response": {"result": "done"}}}],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": NO_PARAMETERS}]}],
    },
    "converse": {
        "messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "call_1", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "done"}]}}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": NO_PARAMETERS}}}]},
    },
    "interactions": {
        "model": "m",
        "input": [
            {"type": "user_input", "content": [{"type": "text", "text": "hi"}]},
            {"type": "function_call", "id": "call_1", "name": "f", "arguments": {}},
            {"type": "function_result", "call_id": "call_1", "name": "f", "result": "done"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": NO_PARAMETERS}],
    },
}


@cache
def samples(api: str) -> tuple[Sample, ...]:
    """Return one sample for each field of each type in a request of ``api``."""
    return tuple(_samples(api))


def _samples(api: str) -> Iterator[Sample]:
    for name, kind in {**type_hints(PARAMS[api]), **UNLISTED.get(api, {})}.items():
        if name in NOT_IN_BODY.get(api, ()) or name == "model":
            continue
        for path, kinds, value, less in _variants(_unwrapped_type(kind), name, (), 0):
            with_field, without = base(api), base(api)
            _set_or_append(with_field, name, value)
            if less is not _ABSENT:
                _set_or_append(without, name, less)
            yield Sample(api, path, kinds, with_field, without)


_ABSENT: Any = object()
_Variant: TypeAlias = tuple[str, tuple[str, ...], Any, Any]  # path, kinds, value, value without the field


def _set_or_append(request: dict[str, Any], name: str, value: Any) -> None:
    """Append to lists such as histories and tools, and replace other values."""
    if isinstance(value, list) and isinstance(request.get(name), list):
        request[name] = [*request[name], *value]
    else:
        request[name] = value


def _variants(kind: Any, path: str, kinds: tuple[str, ...], depth: int) -> Iterator[_Variant]:
    """Yield ``(path, kinds, value, value without the field)`` for ``kind`` at ``path`` and for every nested field."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        members = [_unwrapped_type(member) for member in get_args(kind) if member is not type(None)]
        members = [member for member in members if getattr(member, "__name__", "") != "UnrecognizedStr"]
        dicts = [member for member in members if typing_extensions.is_typeddict(member)]
        for member in members:
            label = (_label(member),) if len(dicts) > 1 and member in dicts else ()
            for inner_path, inner_kinds, value, less in _variants(member, path, (*kinds, *label), depth):
                if label and "." in member.__name__ and inner_path != path:  # its path names the kind
                    inner_kinds = (*kinds, *inner_kinds[len(kinds) + 1 :])
                yield inner_path, inner_kinds, value, less
    elif _is_list(origin):
        (member,) = get_args(kind)
        for inner_path, inner_kinds, value, less in _variants(_unwrapped_type(member), f"{path}[]", kinds, depth):
            yield inner_path, inner_kinds, [value], _ABSENT if less is _ABSENT else [less]
    elif typing_extensions.is_typeddict(kind):
        yield from _object_variants(kind, path, kinds, depth)
    else:
        yield path, kinds, _smallest_scalar(kind, path), _ABSENT


def _object_variants(kind: Any, path: str, kinds: tuple[str, ...], depth: int) -> Iterator[_Variant]:
    hints = type_hints(kind)
    required = _required_members(kind)
    smallest = {name: _smallest_value(_unwrapped_type(hint), f"{path}.{name}") for name, hint in required.items()}
    smallest |= COMPANIONS.get(kind.__name__, {})
    yield path, kinds, smallest, _ABSENT
    if depth >= DEPTH:
        return
    for name, hint in hints.items():
        if _tag(hint) is not None:
            continue  # the tag of a union's member
        for inner, inner_kinds, value, less in _variants(_unwrapped_type(hint), f"{path}.{name}", kinds, depth + 1):
            if less is _ABSENT and name in required:  # a required field is compared with the simplest object
                less = smallest[name]
                if value == less:
                    continue
            without = {member: part for member, part in smallest.items() if member != name}
            less = without if less is _ABSENT else {**smallest, name: less}
            yield inner, inner_kinds, {**smallest, name: value}, less


def _smallest_value(kind: Any, path: str) -> Any:
    """Return the smallest value of ``kind``, for a union that of the simplest member."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        members = [_unwrapped_type(member) for member in get_args(kind) if member is not type(None)]
        plain = [member for member in members if member is str or get_origin(member) is Literal]
        return _smallest_value((plain or members)[0], path)
    if _is_list(origin):
        return [_smallest_value(_unwrapped_type(get_args(kind)[0]), f"{path}[]")]
    if typing_extensions.is_typeddict(kind):
        smallest = {
            name: _smallest_value(_unwrapped_type(hint), f"{path}.{name}")
            for name, hint in _required_members(kind).items()
        }
        return smallest | COMPANIONS.get(kind.__name__, {})
    return _smallest_scalar(kind, path)


def _smallest_scalar(kind: Any, path: str) -> Any:
    names = path.replace("[]", "").split(".")
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    for key in (".".join(names[-2:]), names[-1]):
        if key in VALUES and kind not in (bool,):
            value = VALUES[key]
            if kind is str and not isinstance(value, str):
                break
            return value
    if get_origin(kind) is dict:
        return {"k": _smallest_scalar(get_args(kind)[1], f"{path}.k")}
    return {str: "x", int: 7, float: 0.25, bool: True, object: "x", Any: "x"}.get(kind, "x")


@cache
def typed_dicts(kind: Any) -> Iterator[Any]:
    """Yield the types of objects that ``kind`` allows."""
    kind = _unwrapped_type(kind)
    if typing_extensions.is_typeddict(kind):
        yield kind
    elif get_origin(kind) in (Union, types.UnionType):
        for one in get_args(kind):
            yield from typed_dicts(one)


def type_hints(kind: Any) -> Mapping[str, Any]:
    """Return the types of an object's members by their names in JSON."""
    hints = get_type_hints(kind, include_extras=True)
    return {name.rstrip("_"): hint for name, hint in hints.items()}  # schema_ is schema on the wire


def _required_members(kind: Any) -> dict[str, Any]:
    """Return the members of every object of ``kind``. Postponed annotations hide them from ``__required_keys__``."""
    total = kind.__total__
    return {
        name: hint for name, hint in type_hints(kind).items()
        if get_origin(hint) in _REQUIRED or (total and get_origin(hint) not in _OPTIONAL) or _tag(hint) is not None
    }  # fmt: skip


_REQUIRED, _OPTIONAL = (Required, typing_extensions.Required), (NotRequired, typing_extensions.NotRequired)


def _unwrapped_type(kind: Any) -> Any:
    """Return a type without its alias, ``Required``, ``NotRequired`` and ``Annotated``."""
    while True:
        if get_origin(kind) in (*_REQUIRED, *_OPTIONAL):
            kind = get_args(kind)[0]
        elif hasattr(kind, "__metadata__"):
            kind = kind.__origin__
        elif isinstance(kind, typing_extensions.TypeAliasType):
            kind = kind.__value__
        else:
            return kind


def _tag(hint: Any) -> Any:
    """Return the only value of a member, such as its ``type``."""
    values = get_args(kind) if get_origin(kind := _unwrapped_type(hint)) is Literal else ()
    return values[0] if len(values) == 1 else None


def _is_list(origin: Any) -> bool:
    name = getattr(origin, "__name__", "")
    return name in ("list", "Iterable", "Sequence", "SequenceNotStr", "tuple")


def _label(kind: Any) -> str:
    """Return the ``type`` or ``role`` of a union's member, or the name of its class."""
    hints = type_hints(kind)
    for tag in ("type", "role"):
        if tag in hints:
            values = get_args(_unwrapped_type(hints[tag]))
            if values and isinstance(values[0], str):
                return str(values[0])
    return str(kind.__name__).rpartition(".")[2]
