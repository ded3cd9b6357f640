"""Client requests that grow in one way each: a part of a request of each API is repeated.

A name ends in the path of what grows. In repeated parts, the final number of ids and names counts them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from providers.neutral.seal import Issuer, seal, seal_in_base64

MakeRequest: TypeAlias = Callable[[int], dict[str, Any]]
Growth: TypeAlias = tuple[str, MakeRequest]

LINE: Final = "abcdefghij" * 10
ISSUER: Final = Issuer("openai", "account")


def _names(n: int, value: Any = None) -> dict[str, Any]:
    return {f"m{i}": {} if value is None else value for i in range(n)}


def _deep_schema(n: int) -> dict[str, Any]:
    """Return a schema of depth ``n``, which decoders cut at their limit."""
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(n):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
        **more,
    }


SCHEMAS: Final[Mapping[str, Callable[[int], dict[str, Any]]]] = {
    "properties": lambda n: _object(_names(n, {"type": "string"})),
    "required names that are no properties": lambda n: _object({}, required=[f"m{i}" for i in range(n)]),
    "definitions": lambda n: _object({}, **{"$defs": _names(n, _object(_names(2, {"type": "string"})))}),
    "an enumeration": lambda n: _object({"a": {"type": "string", "enum": [f"m{i}" for i in range(n)]}}),
    "alternatives": lambda n: _object({"a": {"anyOf": [{"type": "string"}] * n}}),
    "types": lambda n: _object({"a": {"type": ["string", "null"] * n}}),
    "unknown keywords": lambda n: _object({"a": {"type": "string", **_names(n)}}),
    "references": lambda n: _object(
        {f"m{i}": {"$ref": "#/$defs/a"} for i in range(n)}, **{"$defs": {"a": {"type": "string"}}}
    ),
    "a chain of references with other members": lambda n: _object(
        {"a": {"$ref": "#/$defs/m0"}},
        **{"$defs": {f"m{i}": {"$ref": f"#/$defs/m{i + 1}", f"x{i}": 1, f"y{i}": 1} for i in range(n)}},
    ),
    "a reference with many other members to a chain": lambda n: _object(
        {"a": {"$ref": "#/$defs/m0", **_names(n)}},
        **{"$defs": {f"m{i}": {"$ref": f"#/$defs/m{i + 1}"} for i in range(n)}},
    ),
    "references in allOf and properties": lambda n: _object(
        _names(n, {"type": "string"}),
        allOf=[{"$ref": f"#/$defs/m{i}"} for i in range(n)],
        **{"$defs": _names(n, {"title": "a"})},
    ),
    "schemas in allOf": lambda n: _object({"a": {"allOf": [{"title": "a"}] * n}}),
    "schemas in schemas": _deep_schema,
}


PLAIN: Final[dict[str, Any]] = {"type": "object"}
"""A schema that grows in each way."""

_IMAGE = "data:image/png;base64,iVBORw0KGgo="
_TEXT = {"type": "text", "text": LINE}
_MARKED = {**_TEXT, "cache_control": {"type": "ephemeral"}}
_SEAL = seal(ISSUER, "chat", {"field": "reasoning"})
_GEMINIS_SEAL = seal_in_base64(ISSUER, "gemini", {"part": "text", "signature": "c2ln"})
_OTHERS_SEAL = seal_in_base64(Issuer("other", "x"), "messages", {"type": "thinking"})


def _chat_tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, "strict": True}}


def _function(name: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": parameters or {}, "strict": True, **more}


_THOUGHT = {"type": "reasoning", "id": "rs-0", "summary": [{"type": "summary_text", "text": LINE}]}
_INPUT = {"type": "input_text", "text": LINE}
_SAID = {"type": "output_text", "text": LINE, "annotations": [{"type": "url_citation"}], "logprobs": []}

BODIES: Final[Mapping[str, dict[str, Any]]] = {
    "chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": LINE},
            {"role": "user", "content": [_TEXT, _MARKED, {"type": "image_url", "image_url": {"url": _IMAGE}}]},
            {
                "role": "assistant", "content": "a", "reasoning_content": LINE,
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "a"},
                    {"type": "reasoning.encrypted", "data": seal(ISSUER, "messages", [{"type": "thinking"}])},
                ],
                "tool_calls": [{"id": "c-0", "type": "function", "function": {"name": "f.0", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c-0", "content": [_TEXT]},
            {"role": "user", "content": LINE},
        ],
        "tools": [_chat_tool("f.0", PLAIN), _chat_tool(f"{LINE}.0", {}), {"type": "custom", "custom": {"name": "g.0"}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "f.0"}}]}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": PLAIN, "strict": True}},
        "stop": ["a"], "logit_bias": {"1": 1}, "metadata": {"a": "a"},
    },
    "messages": {
        "model": "m", "max_tokens": 9, "system": [_TEXT],
        "messages": [
            {"role": "user", "content": [
                _MARKED,
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LINE},
                 "citations": {"enabled": True}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": LINE, "signature": "s"},
                {"type": "thinking", "thinking": LINE, "signature": _SEAL},
                {**_TEXT, "citations": [{"type": "char_location"}]},
                {"type": "server_tool_use", "id": "s-0", "name": "web_search", "input": {}},
                {"type": "tool_use", "id": "t-0", "name": "f.0", "input": {}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t-0", "content": [
                _TEXT, {"type": "tool_reference", "tool_name": "g.0"}]}]},
            {"role": "user", "content": LINE},
        ],
        "tools": [
            {"name": "f.0", "input_schema": PLAIN, "strict": True, "input_examples": [{"a": "b"}],
             "cache_control": {"type": "ephemeral"}},
            {"name": "g.0", "input_schema": {"type": "object"}, "defer_loading": True},
            {"name": f"{LINE}.0", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "output_config": {"format": {"type": "json_schema", "schema": PLAIN}},
        "stop_sequences": ["a"], "metadata": {"a": "a"},
    },
    "responses": {
        "model": "m",
        "input": [
            {"role": "user", "content": [_INPUT, {"type": "input_image", "image_url": _IMAGE}]},
            _THOUGHT,
            {**_THOUGHT, "encrypted_content": _SEAL},
            {"type": "message", "role": "assistant", "content": [_SAID]},
            {"type": "web_search_call", "id": "w-0"},
            {"type": "function_call", "call_id": "c-0", "name": "f.0", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c-0", "output": [_INPUT]},
            {"role": "user", "content": LINE},
        ],
        "tools": [
            _function("f.0", PLAIN), _function("g.0", defer_loading=True), _function(f"{LINE}.0"),
            {"type": "namespace", "name": "s.0", "tools": [_function("h.0")]},
            {"type": "custom", "name": "i.0"},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f.0"}]},
        "text": {"format": {"type": "json_schema", "name": "f", "schema": PLAIN, "strict": True}},
        "include": ["reasoning.encrypted_content"], "metadata": {"a": "a"},
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": LINE}]},
        "contents": [
            {"role": "user", "parts": [{"text": LINE}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}]},
            {"role": "model", "parts": [
                {"text": LINE, "thought": True},
                {"text": LINE, "thoughtSignature": "c2ln"},
                {"text": LINE, "thoughtSignature": _GEMINIS_SEAL},
                {"text": "", "thought": True, "thoughtSignature": _OTHERS_SEAL},
                {"executableCode": {"code": LINE}},
                {"functionCall": {"name": "f.0", "args": {"a": "b"}, "id": "c-0"}, "thoughtSignature": "c2ln"},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "f.0", "id": "c-0", "response": {"result": [LINE]}}}]},
            {"role": "user", "parts": [{"text": LINE}]},
        ],
        "tools": [
            {"functionDeclarations": [
                {"name": "f.0", "parametersJsonSchema": PLAIN}, {"name": f"{LINE} .0", "parametersJsonSchema": {}}]},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f.0"]}},
        "generationConfig": {
            "stopSequences": ["a"], "responseMimeType": "application/json", "responseJsonSchema": PLAIN,
        },
    },
    "converse": {
        "system": [{"text": LINE}],
        "messages": [
            {"role": "user", "content": [
                {"text": LINE}, {"cachePoint": {"type": "default"}},
                {"document": {"name": "a", "format": "txt", "source": {"text": LINE}}},
                {"document": {"name": "b", "source": {"content": [{"text": LINE}]}}},
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": LINE, "signature": "s"}}},
                {"reasoningContent": {"reasoningText": {"text": LINE, "signature": _SEAL}}},
                {"text": LINE},
                {"toolUse": {"toolUseId": "s-0", "name": "f.0", "input": {"a": LINE}, "type": "server_tool_use"}},
                {"toolUse": {"toolUseId": "c-0", "name": "f.0", "input": {"a": LINE}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c-0", "content": [{"text": LINE}, {"json": {"a": 1}}]}}]},
            {"role": "user", "content": [{"text": LINE}]},
        ],
        "toolConfig": {"tools": [
            {"toolSpec": {"name": "f.0", "inputSchema": {"json": PLAIN}}}, {"cachePoint": {"type": "default"}}]},
        "inferenceConfig": {"stopSequences": ["a"]}, "additionalModelRequestFields": {"a": {}},
    },
    "interactions": {
        "input": [
            {"type": "user_input", "content": [_TEXT, {"type": "image", "data": "AAAA", "mime_type": "image/png"}]},
            {"type": "thought", "signature": "c2ln", "summary": [_TEXT]},
            {"type": "thought", "signature": _SEAL},
            {"type": "model_output", "content": [_TEXT]},
            {"type": "google_search_call", "id": "s-0", "arguments": {"queries": ["a"]}},
            {"type": "function_call", "id": "c-0", "name": "f.0", "arguments": {"a": LINE}},
            {"type": "function_result", "call_id": "c-0", "name": "f.0", "result": [_TEXT]},
            {"type": "user_input", "content": [_TEXT]},
        ],
        "tools": [{"type": "function", "name": "f.0", "parameters": PLAIN}],
        "generation_config": {
            "tool_choice": {"allowed_tools": {"mode": "any", "tools": ["f.0"]}}, "stop_sequences": ["a"],
        },
        "response_format": [{"type": "text", "mime_type": "application/json"}],
    },
}  # fmt: skip


def _numbered(value: Any, number: int) -> Any:
    """Return a copy of ``value`` whose ids and names end in ``number``."""
    return json.loads(re.sub(r'([-.])0"', rf'\g<1>{number}"', json.dumps(value)))


def _growths(value: Any, path: str, put: Callable[[Any], dict[str, Any]]) -> Iterator[Growth]:
    """Yield the ways in which ``value`` grows, at ``path`` of a request; ``put`` returns the request with another."""
    if value is PLAIN:
        for name, made in SCHEMAS.items():
            yield f"{name} in {path}", lambda n, made=made: put(made(n))
    elif isinstance(value, dict):
        first = next(iter(value.values()), None) if path in (".logit_bias", ".metadata") else None
        yield f"members of {path}", lambda n: put({**value, **_names(n, first)})
        for name, inner in value.items():
            yield from _growths(inner, f"{path}.{name}", lambda new, name=name: put({**value, name: new}))
    elif isinstance(value, list):
        yield f"{path}[]", lambda n: put([one for number in range(n) for one in _numbered(value, number)])
        for at, one in enumerate(value):

            def put_at(new: list[Any], at: int = at) -> dict[str, Any]:
                return put([*value[:at], *new, *value[at + 1 :]])

            place = f"{path}[{at}]"
            yield place, lambda n, one=one, put=put_at: put([_numbered(one, number) for number in range(n)])
            if one != _numbered(one, 1):
                yield f"{place} unchanged", lambda n, one=one, put=put_at: put([one] * n)
            yield from _growths(one, place, lambda new, put=put_at: put([new]))


def _with_all(value: Any, mark: str, n: int) -> Any:
    """Return ``value`` with ``n`` copies of each innermost element of a list that has the text ``mark``."""
    if isinstance(value, dict):
        return {name: _with_all(inner, mark, n) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    found = []
    for one in value:
        grown = _with_all(one, mark, n)
        is_innermost = grown == one and f'"{mark}"' in json.dumps(one)
        found += [_numbered(one, number) for number in range(n)] if is_innermost else [grown]
    return found


def _requests(body: dict[str, Any]) -> Iterator[Growth]:
    yield from _growths(body, "", lambda new: new)
    for mark in sorted(set(re.findall(r'"(\w+[-.]0)"', json.dumps(body)))):
        yield f"all with {mark}", lambda n, mark=mark: _with_all(body, mark, n)


REQUESTS: Final[Mapping[str, Mapping[str, MakeRequest]]] = {api: dict(_requests(body)) for api, body in BODIES.items()}
"""The requests by API and by what grows."""
