"""Client requests that grow in one way each, by API."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from providers.neutral.seal import Issuer, seal, seal_in_base64

MakeRequest: TypeAlias = Callable[[int], dict[str, Any]]

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


def _with_cache_mark(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "cache_control": {"type": "ephemeral"}}


_IMAGE = "data:image/png;base64,iVBORw0KGgo="


# Chat


def _chat(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}, *messages], **members}


def _user(content: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def _chat_tool(schema: dict[str, Any], name: str = "f") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}


def _chat_call(i: int, **more: Any) -> dict[str, Any]:
    return {"id": f"c{i}", "type": "function", "function": {"name": f"f.{i}", "arguments": "{}"}, **more}


def _chat_turn(i: int) -> tuple[dict[str, Any], ...]:
    return (
        {"role": "assistant", "content": None, "tool_calls": [_chat_call(i)]},
        {"role": "tool", "tool_call_id": f"c{i}", "content": "a"},
    )


_SEALED_DETAIL = {"type": "reasoning.encrypted", "data": seal(ISSUER, "messages", [{"type": "thinking"}])}

CHAT: Final[Mapping[str, MakeRequest]] = {
    "turns": lambda n: _chat(*[_user(), {"role": "assistant", "content": "a"}] * n),
    "turns of one side": lambda n: _chat(*[_user(LINE)] * n),
    "system turns": lambda n: _chat(*[{"role": "system", "content": LINE}] * n),
    "parts": lambda n: _chat(_user([{"type": "text", "text": LINE}] * n)),
    "images": lambda n: _chat(_user([{"type": "image_url", "image_url": {"url": _IMAGE}}] * n)),
    "cache marks": lambda n: _chat(_user([_with_cache_mark({"type": "text", "text": "a"})] * n)),
    "calls in turns": lambda n: _chat(*[one for i in range(n) for one in _chat_turn(i)]),
    "calls in one turn": lambda n: _chat(
        {"role": "assistant", "tool_calls": [_chat_call(i) for i in range(n)]},
        *[{"role": "tool", "tool_call_id": f"c{i}", "content": "a"} for i in range(n)],
    ),
    "calls of one id": lambda n: _chat(*[one for _ in range(n) for one in _chat_turn(0)]),
    "calls without results": lambda n: _chat({"role": "assistant", "tool_calls": [_chat_call(i) for i in range(n)]}),
    "results without calls": lambda n: _chat(
        *[{"role": "tool", "tool_call_id": f"c{i}", "content": "a"} for i in range(n)]
    ),
    "results in parts": lambda n: _chat(
        _chat_turn(0)[0], {"role": "tool", "tool_call_id": "c0", "content": [{"type": "text", "text": "a"}] * n}
    ),
    "reasoning": lambda n: _chat(*[_user(), {"role": "assistant", "content": "a", "reasoning_content": LINE}] * n),
    "details of reasoning": lambda n: _chat(
        {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}] * n}
    ),
    "sealed reasoning": lambda n: _chat(
        *[_user(), {"role": "assistant", "content": "a", "reasoning_details": [_SEALED_DETAIL]}] * n
    ),
    "tools": lambda n: _chat(tools=[_chat_tool({"type": "object"}, f"f{i}") for i in range(n)]),
    "tools with long names": lambda n: _chat(tools=[_chat_tool({"type": "object"}, f"{LINE}.{i}") for i in range(n)]),
    "tools of one name": lambda n: _chat(tools=[_chat_tool({"type": "object"})] * n),
    "custom tools": lambda n: _chat(tools=[{"type": "custom", "custom": {"name": f"f{i}"}} for i in range(n)]),
    "allowed tools": lambda n: _chat(
        tools=[_chat_tool({"type": "object"}, f"f.{i}") for i in range(n)],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": f"f.{i}"}} for i in range(n)]}},
    ),
    "stop words": lambda n: _chat(stop=["a"] * n),
    "biases": lambda n: _chat(logit_bias={str(i): 1 for i in range(n)}),
    "metadata": lambda n: _chat(metadata=_names(n, "a")),
    "unknown members": lambda n: _chat(**_names(n)),
    "unknown members of turns": lambda n: _chat(*[_user(**{f"m{i}": {}}) for i in range(n)]),
    "unknown members of a turn": lambda n: _chat(_user(**_names(n))),
    **{f"{name} in a tool": lambda n, made=made: _chat(tools=[_chat_tool(made(n))]) for name, made in SCHEMAS.items()},
    **{
        f"{name} in the format": lambda n, made=made: _chat(
            response_format={"type": "json_schema", "json_schema": {"name": "f", "schema": made(n), "strict": True}}
        )
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip


# Messages


def _messages(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [_user(), *messages], **members}


def _assistant(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def _use(i: int, type: str = "tool_use") -> dict[str, Any]:
    return {"type": type, "id": f"t{i}", "name": f"f.{i}", "input": {}}


def _result(i: int, content: Any = "a") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"t{i}", "content": content}


def _strict(schema: dict[str, Any], name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": schema, "strict": True, **more}


_TEXT = {"type": "text", "text": LINE}
_THOUGHT = {"type": "thinking", "thinking": LINE, "signature": "s"}
_SEALED_THOUGHT = {"type": "thinking", "thinking": LINE, "signature": seal(ISSUER, "chat", {"field": "reasoning"})}
_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
_DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LINE},
             "citations": {"enabled": True}}  # fmt: skip
_PLAIN: Final[dict[str, Any]] = {"type": "object"}

MESSAGES: Final[Mapping[str, MakeRequest]] = {
    "turns": lambda n: _messages(*[_assistant(_TEXT), _user()] * n),
    "turns of one side": lambda n: _messages(*[_user(LINE)] * n),
    "blocks": lambda n: _messages(_user([_TEXT] * n)),
    "blocks of the system prompt": lambda n: _messages(system=[_TEXT] * n),
    "cache marks": lambda n: _messages(_user([_with_cache_mark(_TEXT)] * n)),
    "pictures": lambda n: _messages(_user([_PICTURE] * n)),
    "documents": lambda n: _messages(_user([_DOCUMENT] * n)),
    "citations": lambda n: _messages(_assistant({**_TEXT, "citations": [{"type": "char_location"}] * n})),
    "calls in turns": lambda n: _messages(
        *[one for i in range(n) for one in (_assistant(_use(i)), _user([_result(i)]))]
    ),
    "calls in one turn": lambda n: _messages(_assistant(*map(_use, range(n))), _user([_result(i) for i in range(n)])),
    "calls of one id": lambda n: _messages(*[_assistant(_use(0)), _user([_result(0)])] * n),
    "calls without results": lambda n: _messages(_assistant(*map(_use, range(n)))),
    "results without calls": lambda n: _messages(_user([_result(i) for i in range(n)])),
    "results in blocks": lambda n: _messages(_assistant(_use(0)), _user([_result(0, [_TEXT, _PICTURE] * n)])),
    "thoughts": lambda n: _messages(*[_assistant(_THOUGHT, _TEXT), _user()] * n),
    "thoughts in one turn": lambda n: _messages(_assistant(*[_THOUGHT] * n, _TEXT), _user()),
    "sealed thoughts": lambda n: _messages(*[_assistant(_SEALED_THOUGHT, _TEXT), _user()] * n),
    "blocks of a provider's own tools": lambda n: _messages(
        _assistant(*[_use(i, "server_tool_use") for i in range(n)]), _user()
    ),
    "tools": lambda n: _messages(tools=[_strict(_PLAIN, f"f{i}") for i in range(n)]),
    "tools with long names": lambda n: _messages(tools=[_strict(_PLAIN, f"{LINE}.{i}") for i in range(n)]),
    "tools with cache marks": lambda n: _messages(tools=[_with_cache_mark(_strict(_PLAIN, f"f{i}")) for i in range(n)]),
    "tools that wait": lambda n: _messages(tools=[_strict(_PLAIN, f"f{i}", defer_loading=True) for i in range(n)]),
    "references to tools": lambda n: _messages(
        _assistant(_use(0)),
        _user([_result(0, [{"type": "tool_reference", "tool_name": f"f{i}"} for i in range(n)])]),
        tools=[_strict(_PLAIN, f"f{i}", defer_loading=True) for i in range(n)],
    ),
    "examples of input": lambda n: _messages(tools=[_strict(_PLAIN, input_examples=[{"a": "b"}] * n)]),
    "a provider's own tools": lambda n: _messages(
        tools=[{"type": "web_search_20250305", "name": f"web_search{i}"} for i in range(n)]
    ),
    "stop words": lambda n: _messages(stop_sequences=["a"] * n),
    "metadata": lambda n: _messages(metadata=_names(n, "a")),
    "unknown members": lambda n: _messages(**_names(n)),
    "unknown members of a block": lambda n: _messages(_user([{**_TEXT, **_names(n)}])),
    "unknown members of blocks": lambda n: _messages(_user([{**_TEXT, f"m{i}": {}} for i in range(n)])),
    **{f"{name} in a tool": lambda n, made=made: _messages(tools=[_strict(made(n))]) for name, made in SCHEMAS.items()},
    **{
        f"{name} in the format": lambda n, made=made: _messages(
            output_config={"format": {"type": "json_schema", "schema": made(n)}}
        )
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip


# Responses


def _responses(*input: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "input": [_user(), *input], **members}


def _assistant_message(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(content), **more}


def _call(i: int) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"c{i}", "name": f"f.{i}", "arguments": "{}"}


def _output(i: int, output: Any = "a") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{i}", "output": output}


def _function(schema: dict[str, Any], name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": schema, "strict": True, **more}


_OUT = {"type": "output_text", "text": LINE, "annotations": [], "logprobs": []}
_IN = {"type": "input_text", "text": LINE}
_THINKING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": LINE}]}
_SEALED_ITEM = {**_THINKING, "encrypted_content": seal(ISSUER, "chat", {"field": "reasoning"})}

RESPONSES: Final[Mapping[str, MakeRequest]] = {
    "turns": lambda n: _responses(*[_assistant_message(_OUT), _user()] * n),
    "turns of one side": lambda n: _responses(*[_user(LINE)] * n),
    "messages of the model": lambda n: _responses(*[_assistant_message(_OUT)] * n),
    "parts": lambda n: _responses(_user([_IN] * n)),
    "parts of the model": lambda n: _responses(_assistant_message(*[_OUT] * n)),
    "images": lambda n: _responses(_user([{"type": "input_image", "image_url": _IMAGE}] * n)),
    "annotations": lambda n: _responses(_assistant_message({**_OUT, "annotations": [{"type": "url_citation"}] * n})),
    "calls in turns": lambda n: _responses(*[one for i in range(n) for one in (_call(i), _output(i))]),
    "calls before their outputs": lambda n: _responses(*map(_call, range(n)), *map(_output, range(n))),
    "calls of one id": lambda n: _responses(*[one for _ in range(n) for one in (_call(0), _output(0))]),
    "calls without outputs": lambda n: _responses(*map(_call, range(n))),
    "outputs in parts": lambda n: _responses(_call(0), _output(0, [_IN] * n)),
    "reasoning": lambda n: _responses(*[_THINKING, _assistant_message(_OUT), _user()] * n),
    "reasoning in one turn": lambda n: _responses(*[_THINKING] * n, _assistant_message(_OUT)),
    "parts of a summary": lambda n: _responses({**_THINKING, "summary": _THINKING["summary"] * n}),
    "sealed reasoning": lambda n: _responses(*[_SEALED_ITEM, _assistant_message(_OUT), _user()] * n),
    "items of hosted tools": lambda n: _responses(*[{"type": "web_search_call", "id": f"w{i}"} for i in range(n)]),
    "tools": lambda n: _responses(tools=[_function(_PLAIN, f"f{i}") for i in range(n)]),
    "tools with long names": lambda n: _responses(tools=[_function(_PLAIN, f"{LINE}.{i}") for i in range(n)]),
    "tools of a namespace": lambda n: _responses(
        tools=[{"type": "namespace", "name": "s", "tools": [_function(_PLAIN, f"f{i}") for i in range(n)]}]
    ),
    "namespaces": lambda n: _responses(
        tools=[{"type": "namespace", "name": f"s{i}", "tools": [_function(_PLAIN)]} for i in range(n)]
    ),
    "custom tools": lambda n: _responses(tools=[{"type": "custom", "name": f"f{i}"} for i in range(n)]),
    "hosted tools": lambda n: _responses(tools=[{"type": "web_search"}] * n),
    "tools that wait": lambda n: _responses(tools=[_function(_PLAIN, f"f{i}", defer_loading=True) for i in range(n)]),
    "allowed tools": lambda n: _responses(
        tools=[_function(_PLAIN, f"f.{i}") for i in range(n)],
        tool_choice={"type": "allowed_tools", "mode": "auto",
                     "tools": [{"type": "function", "name": f"f.{i}"} for i in range(n)]},
    ),
    "what is to be included": lambda n: _responses(include=["reasoning.encrypted_content"] * n),
    "metadata": lambda n: _responses(metadata=_names(n, "a")),
    "unknown members": lambda n: _responses(**_names(n)),
    "unknown members of an item": lambda n: _responses(_user(**_names(n))),
    "unknown members of items": lambda n: _responses(*[_user(**{f"m{i}": {}}) for i in range(n)]),
    **{
        f"{name} in a tool": lambda n, made=made: _responses(tools=[_function(made(n))])
        for name, made in SCHEMAS.items()
    },
    **{
        f"{name} in the format": lambda n, made=made: _responses(
            text={"format": {"type": "json_schema", "name": "f", "schema": made(n), "strict": True}}
        )
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip


# Gemini


def _gemini(*contents: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"contents": [_content({"text": "Hi"}), *contents], **members}


def _content(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def _by_model(*parts: dict[str, Any]) -> dict[str, Any]:
    return _content(*parts, role="model")


def _call_of(i: int, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": "f", "args": {"a": "b"}, "id": f"c{i}"}, **more}


def _response_to(i: int, value: Any = "x") -> dict[str, Any]:
    return {"functionResponse": {"name": "f", "id": f"c{i}", "response": {"result": value}}}


def _declared(schema: Any, name: str = "f") -> dict[str, Any]:
    return {"name": name, "parametersJsonSchema": schema}


_SIGNED = {"thoughtSignature": "c2ln"}
_SEALED = {"thoughtSignature": seal_in_base64(ISSUER, "gemini", {"part": "text", "signature": "c2ln"})}
_OTHERS_SEAL = {"thoughtSignature": seal_in_base64(Issuer("other", "x"), "messages", {"type": "thinking"})}
_GEMINI_TEXT, _GEMINI_THOUGHT = {"text": LINE}, {"text": LINE, "thought": True}

GEMINI: Final[Mapping[str, MakeRequest]] = {
    "turns": lambda n: _gemini(*[_by_model(_GEMINI_TEXT), _content(_GEMINI_TEXT)] * n),
    "contents of one side": lambda n: _gemini(*[_content(_GEMINI_TEXT)] * n),
    "parts": lambda n: _gemini(_content(*[_GEMINI_TEXT] * n)),
    "parts of the system instruction": lambda n: _gemini(systemInstruction=_content(*[_GEMINI_TEXT] * n)),
    "pictures": lambda n: _gemini(_content(*[{"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}] * n)),
    "calls in turns": lambda n: _gemini(
        *[one for i in range(n) for one in (_by_model(_call_of(i)), _content(_response_to(i)))]
    ),
    "calls in one turn": lambda n: _gemini(
        _by_model(*map(_call_of, range(n))), _content(*map(_response_to, range(n)))
    ),
    "calls without ids": lambda n: _gemini(
        _by_model(*[{"functionCall": {"name": "f"}}] * n),
        _content(*[{"functionResponse": {"name": "f", "response": {}}}] * n),
    ),
    "calls without results": lambda n: _gemini(_by_model(*map(_call_of, range(n)))),
    "results without calls": lambda n: _gemini(_content(*map(_response_to, range(n)))),
    "a result": lambda n: _gemini(_by_model(_call_of(0)), _content(_response_to(0, [LINE] * n))),
    "signed calls": lambda n: _gemini(_by_model(*[_call_of(i, **_SIGNED) for i in range(n)])),
    "signed texts": lambda n: _gemini(_by_model(*[{**_GEMINI_TEXT, **_SIGNED}] * n)),
    "sealed texts": lambda n: _gemini(_by_model(*[{**_GEMINI_TEXT, **_SEALED}] * n)),
    "sealed texts of others": lambda n: _gemini(_by_model(*[{**_GEMINI_TEXT, **_OTHERS_SEAL}] * n)),
    "signatures alone": lambda n: _gemini(_by_model(*[{"text": "", **_SIGNED}] * n, *[_GEMINI_TEXT] * n)),
    "thoughts": lambda n: _gemini(_by_model(*[_GEMINI_THOUGHT] * n)),
    "thoughts of others": lambda n: _gemini(
        *[_by_model(_GEMINI_THOUGHT, {"text": "", "thought": True, **_OTHERS_SEAL}), _content(_GEMINI_TEXT)] * n
    ),
    "parts of a provider's own tools": lambda n: _gemini(_by_model(*[{"executableCode": {"code": LINE}}] * n)),
    "tools": lambda n: _gemini(tools=[{"functionDeclarations": [_declared(_PLAIN, f"f{i}") for i in range(n)]}]),
    "groups of tools": lambda n: _gemini(
        tools=[{"functionDeclarations": [_declared(_PLAIN, f"f{i}")]} for i in range(n)]
    ),
    "tools with long names": lambda n: _gemini(
        tools=[{"functionDeclarations": [_declared(_PLAIN, f"{LINE} {i}") for i in range(n)]}]
    ),
    "a provider's own tools": lambda n: _gemini(tools=[{"googleSearch": {}}] * n),
    "allowed tools": lambda n: _gemini(
        tools=[{"functionDeclarations": [_declared(_PLAIN, f"f{i}") for i in range(n)]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [f"f{i}" for i in range(n)]}},
    ),
    "stop words": lambda n: _gemini(generationConfig={"stopSequences": ["a"] * n}),
    "unknown members": lambda n: _gemini(**_names(n)),
    "unknown members of a part": lambda n: _gemini(_content({**_GEMINI_TEXT, **_names(n)})),
    "unknown members of parts": lambda n: _gemini(_content(*[{**_GEMINI_TEXT, f"m{i}": {}} for i in range(n)])),
    **{
        f"{name} in a tool": lambda n, made=made: _gemini(tools=[{"functionDeclarations": [_declared(made(n))]}])
        for name, made in SCHEMAS.items()
    },
    **{
        f"{name} in the format": lambda n, made=made: _gemini(
            generationConfig={"responseMimeType": "application/json", "responseJsonSchema": made(n)}
        )
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip

# Converse


def _converse(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"messages": [*messages, {"role": "user", "content": [{"text": "hi"}]}], **members}


def _turn(*content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def _tool_use(i: int, **more: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": f"c{i}", "name": "f", "input": {"a": LINE}, **more}}


def _tool_result(i: int, *content: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": f"c{i}", "content": list(content) or [{"text": LINE}]}}


def _spec(schema: dict[str, Any], name: str = "f") -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}


_SAID = {"text": LINE}
_POINT = {"cachePoint": {"type": "default"}}
_HIDDEN = {"reasoningContent": {"reasoningText": {"text": LINE, "signature": "s"}}}
_SEALED_HERE = {
    "reasoningContent": {"reasoningText": {"text": LINE, "signature": seal(ISSUER, "chat", {"field": "x"})}}
}
_PAGE = {"document": {"name": "a", "format": "txt", "source": {"text": LINE}}}

CONVERSE: Final[Mapping[str, MakeRequest]] = {
    "turns": lambda n: _converse(*[one for _ in range(n) for one in (_turn(_SAID, role="assistant"), _turn(_SAID))]),
    "turns of one side": lambda n: _converse(*[_turn(_SAID)] * n),
    "blocks": lambda n: _converse(_turn(*[_SAID] * n)),
    "blocks of the system prompt": lambda n: _converse(system=[_SAID] * n),
    "cache marks": lambda n: _converse(_turn(*[_SAID, _POINT] * n)),
    "cache marks behind one block": lambda n: _converse(_turn(_SAID, *[_POINT] * n)),
    "documents": lambda n: _converse(_turn(*[_PAGE] * n)),
    "parts of a document": lambda n: _converse(
        _turn({"document": {"name": "a", "source": {"content": [{"text": LINE}] * n}}})
    ),
    "calls in turns": lambda n: _converse(
        *[one for i in range(n) for one in (_turn(_tool_use(i), role="assistant"), _turn(_tool_result(i)))]
    ),
    "calls in one turn": lambda n: _converse(
        _turn(*map(_tool_use, range(n)), role="assistant"), _turn(*map(_tool_result, range(n)))
    ),
    "results without calls": lambda n: _converse(_turn(*map(_tool_result, range(n)))),
    "results in blocks": lambda n: _converse(
        _turn(_tool_use(0), role="assistant"), _turn(_tool_result(0, *[_SAID, {"json": {"a": 1}}] * n))
    ),
    "thoughts": lambda n: _converse(*[_turn(_HIDDEN, _SAID, role="assistant"), _turn(_SAID)] * n),
    "sealed thoughts": lambda n: _converse(*[_turn(_SEALED_HERE, _SAID, role="assistant"), _turn(_SAID)] * n),
    "blocks of a provider's own tools": lambda n: _converse(
        _turn(*[_tool_use(i, type="server_tool_use") for i in range(n)], role="assistant")
    ),
    "tools": lambda n: _converse(toolConfig={"tools": [_spec(_PLAIN, f"f{i}") for i in range(n)]}),
    "tools with cache marks": lambda n: _converse(toolConfig={"tools": [_spec(_PLAIN), _POINT] * n}),
    "stop words": lambda n: _converse(inferenceConfig={"stopSequences": ["a"] * n}),
    "unknown members": lambda n: _converse(**_names(n)),
    "unknown blocks": lambda n: _converse(_turn(*[{f"m{i}": {}} for i in range(n)])),
    "further fields": lambda n: _converse(
        additionalModelRequestFields={f"field_{i:05}": {} for i in range(n)}
    ),
    **{
        f"{name} in a tool": lambda n, made=made: _converse(toolConfig={"tools": [_spec(made(n))]})
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip

# Interactions


def _interactions(*steps: Any, **members: Any) -> dict[str, Any]:
    return {"input": [*steps, _input_step(_TEXT)], **members}


def _input_step(*content: Any) -> dict[str, Any]:
    return {"type": "user_input", "content": list(content)}


def _output_step(*content: Any) -> dict[str, Any]:
    return {"type": "model_output", "content": list(content)}


def _call_step(i: int) -> dict[str, Any]:
    return {"type": "function_call", "id": f"c{i}", "name": "f", "arguments": {"a": LINE}}


def _result_step(i: int, result: Any = LINE) -> dict[str, Any]:
    return {"type": "function_result", "call_id": f"c{i}", "name": "f", "result": result}


_THOUGHT_STEP = {"type": "thought", "signature": "c2ln", "summary": [_TEXT]}
_SEALED_STEP = {"type": "thought", "signature": seal(ISSUER, "chat", {"field": "x"})}
_OWN_SEARCH = {"type": "google_search_call", "id": "s", "arguments": {"queries": ["a"]}}

INTERACTIONS: Final[Mapping[str, MakeRequest]] = {
    "contents": lambda n: {"input": [_TEXT] * n},
    "steps": lambda n: _interactions(*[_input_step(_TEXT), _output_step(_TEXT)] * n),
    "steps of one side": lambda n: _interactions(*[_output_step(_TEXT)] * n),
    "contents of a step": lambda n: _interactions(_input_step(*[_TEXT] * n)),
    "images of a step": lambda n: _interactions(
        _input_step(*[{"type": "image", "data": "AAAA", "mime_type": "image/png"}] * n)
    ),
    "calls in turns": lambda n: _interactions(*[one for i in range(n) for one in (_call_step(i), _result_step(i))]),
    "calls in one turn": lambda n: _interactions(*map(_call_step, range(n)), *map(_result_step, range(n))),
    "results without calls": lambda n: _interactions(*map(_result_step, range(n))),
    "results in contents": lambda n: _interactions(_call_step(0), _result_step(0, [_TEXT] * n)),
    "thoughts": lambda n: _interactions(*[_THOUGHT_STEP, _output_step(_TEXT)] * n),
    "sealed thoughts": lambda n: _interactions(*[_SEALED_STEP, _output_step(_TEXT)] * n),
    "steps of Google's own tools": lambda n: _interactions(*[_OWN_SEARCH] * n),
    "tools": lambda n: _interactions(
        tools=[{"type": "function", "name": f"f{i}", "parameters": _PLAIN} for i in range(n)]
    ),
    "allowed tools": lambda n: _interactions(
        tools=[{"type": "function", "name": f"f{i}"} for i in range(n)],
        generation_config={"tool_choice": {"allowed_tools": {"mode": "any", "tools": [f"f{i}" for i in range(n)]}}},
    ),
    "stop words": lambda n: _interactions(generation_config={"stop_sequences": ["a"] * n}),
    "formats": lambda n: _interactions(response_format=[{"type": "text", "mime_type": "application/json"}] * n),
    "unknown members": lambda n: _interactions(**_names(n)),
    **{
        f"{name} in a tool": lambda n, made=made: _interactions(
            tools=[{"type": "function", "name": "f", "parameters": made(n)}]
        )
        for name, made in SCHEMAS.items()
    },
}  # fmt: skip

REQUESTS: Final[Mapping[str, Mapping[str, MakeRequest]]] = {
    "chat": CHAT,
    "messages": MESSAGES,
    "responses": RESPONSES,
    "gemini": GEMINI,
    "converse": CONVERSE,
    "interactions": INTERACTIONS,
}
"""The requests by API and by the part that grows."""
