"""Requests that a provider rejects, and that the gateway sends again in another shape.

The gateway remembers each rejection for later requests. More of the rejections' words are in
``tests/providers/errors/test_rejection_words.py``, and the changes of bodies in ``test_other_shapes.py`` there.
"""

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import attrs
from openai import OpenAI
from pydantic import BaseModel, Field

from providers.neutral.formats import format_in_words
from providers.neutral.schemas import describe_limits
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PATHS = (CHAT, MESSAGES, RESPONSES)
APIS = ("chat", "messages", "responses")
STRICT = {"x-trigate-strict": "1"}
USER = {"role": "user", "content": "hi"}


def body_for(path: str, **members: Any) -> dict[str, Any]:
    """Return a short request for ``path``, without its model."""
    own = {"input": "hi"} if path == RESPONSES else {"messages": [USER]}
    return own | ({"max_tokens": 9000} if path == MESSAGES else {}) | members


@attrs.frozen
class Recovery:
    """A request, its rejections, and the parts of the provider's requests that ``reads`` returns.

    The part is ``before`` in the rejected requests, and ``after`` in the repeated request and the next one. ``later``
    is the path, the body and the part of one more request. ``edit`` is a part of the header ``edit_header``.
    """

    path: str
    body: Mapping[str, Any]
    api: str
    rejections: tuple[Raw, ...]
    reads: Callable[[Any], Any]
    before: Any
    after: Any
    edits: tuple[str, ...]
    edit_header: str = "x-trigate-adapted"
    later: tuple[str, Mapping[str, Any], Any] | None = None
    model: str = "custom/x"
    headers: Mapping[str, str] = {}


def reject(message: str, status: int = 400, **error: Any) -> tuple[Raw, ...]:
    body = {"error": {"message": message, **error}, "message": message}
    return (Raw(status, JSON, (json.dumps(body).encode(),)),)


# Thinking: Claude Code and Codex send its settings to every model (Gitlawb/openclaude#1371,
# anthropics/claude-code#68551).

NO_THINKING = '"llama3.1:8b" does not support thinking'
ADAPTIVE_ONLY = (
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" '
    "to control thinking behavior."
)
NO_EFFORT = (  # caozhiyuan/copilot-api#286
    'output_config.effort "high" was provided, but model claude-haiku-4.5 does not support reasoning effort'
)
SUBAGENT = "thinking options type cannot be disabled when reasoning_effort is set"
HIGH: Mapping[str, dict[str, Any]] = {
    CHAT: {"reasoning_effort": "high"},
    RESPONSES: {"reasoning": {"effort": "high"}},
    MESSAGES: {"thinking": {"type": "enabled", "budget_tokens": 4000}, "output_config": {"effort": "high"}},
}
DISABLED: Mapping[str, dict[str, Any]] = {
    MESSAGES: {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
    CHAT: {"thinking": {"type": "disabled"}, "reasoning_effort": "max"},
}


def thinks(sent: Any) -> bool:
    return not {"reasoning_effort", "reasoning", "thinking", "output_config"}.isdisjoint(sent)


def effort(sent: Any) -> tuple[str, bool]:
    return sent["thinking"]["type"], '"max"' in json.dumps(sent)


LOST = (  # router-for-me/CLIProxyAPI#1078, lbjlaq/Antigravity-Manager#139
    "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is "
    "enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` "
    "and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this "
    "requirement, disable `thinking`. Please consult our documentation at "
    "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
)
ONLY_STREAMED = "parameter.enable_thinking must be set to false for non-streaming calls"  # QuantumNous/new-api#1109

LEVELS = (  # router-for-me/CLIProxyAPI#1307, Kilo-Org/cloud#3807, farion1231/cc-switch#2851
    (CHAT, "reasoning_effort", "reasoning_effort: Input should be 'low', 'medium' or 'high'"),
    (RESPONSES, "reasoning", "Unsupported value: 'reasoning.effort' does not support 'xhigh' with this model. "
                             "Supported values are: 'low', 'medium', and 'high'."),
    (MESSAGES, "output_config", "The parameter `output_config.effort` specified in the request are not valid: expected "
                                "`low`, `medium`, `high` or `max`, but got `xhigh` instead. Request id: 02177899"),
)  # fmt: skip


def thinking() -> Iterator[Recovery]:
    for path in PATHS:
        for api in APIS:
            body = body_for(path, **HIGH[path])
            yield Recovery(path, body, api, reject(NO_THINKING), thinks, True, False, ("",), "x-trigate-dropped")
    body = body_for(MESSAGES, **HIGH[MESSAGES])
    enabled, adaptive = body["thinking"], {"type": "adaptive"}
    yield Recovery(
        MESSAGES, body, "messages", reject(ADAPTIVE_ONLY), lambda sent: (sent["thinking"], sent["output_config"]),
        (enabled, {"effort": "high"}), (adaptive, {"effort": "high"}), ("thinking=adaptive",),
    )  # fmt: skip
    for path, api, kept in ((MESSAGES, "messages", enabled), (CHAT, "chat", None), (MESSAGES, "chat", None)):
        yield Recovery(
            path, body_for(path, **HIGH[path]), api, reject(NO_EFFORT),
            lambda sent: (sent.get("thinking"), "output_config" in sent or "reasoning_effort" in sent),
            (kept, True), (kept, False), ("",), "x-trigate-dropped",
        )  # fmt: skip
    for path, holder, message in LEVELS:
        full = {holder: "xhigh"} if holder == "reasoning_effort" else {holder: {"effort": "xhigh"}}
        less = json.loads(json.dumps(full).replace("xhigh", "high"))
        yield Recovery(
            path, body_for(path, **full), APIS[PATHS.index(path)], reject(message),
            lambda sent, holder=holder: sent[holder], full[holder], less[holder], ("effort",), "x-trigate-dropped",
            (path, body_for(path, **less), less[holder]),
        )  # fmt: skip
    budget = {"type": "enabled", "budget_tokens": 4000}
    lost = body_for(MESSAGES, messages=CALLED[MESSAGES], tools=tools(MESSAGES, EMPTY), thinking=budget)
    yield Recovery(
        MESSAGES, lost, "messages", reject(LOST), lambda sent: sent.get("thinking"), budget, None, ("thinking",),
        "x-trigate-dropped", (MESSAGES, body_for(MESSAGES, thinking=budget), budget),
    )  # fmt: skip
    yield Recovery(
        CHAT, body_for(CHAT), "chat", reject(ONLY_STREAMED), lambda sent: sent.get("enable_thinking"), None, False,
        ("enable_thinking=false",), later=(CHAT, body_for(CHAT, stream=True), None),
    )  # fmt: skip
    # the main conversation of Claude Code keeps its effort after a subagent (anthropics/claude-code#65863)
    for path, api in ((MESSAGES, "messages"), (CHAT, "chat")):
        body = body_for(path, **DISABLED[path])
        yield Recovery(
            path, body, api, reject(SUBAGENT), effort, ("disabled", True), ("disabled", False), ("effort",),
            "x-trigate-dropped", (path, {**body, "thinking": adaptive}, ("adaptive", True)),
        )  # fmt: skip


# Forced tool calls, which models reject while they think (deepseek-ai/DeepSeek-V3#1376, can1357/oh-my-pi#1077,
# cloudwego/eino#994)

OFF = {"type": "disabled"}
ONLY_WORDS = "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
FORCED = {"type": "function", "function": {"name": "f"}}
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}
TOOL = {"name": "f", "description": "d"}
QWEN = (
    "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to required or "
    "object in thinking mode"
)


def tools(path: str, schema: Any, **members: Any) -> list[dict[str, Any]]:
    """Return a list with one tool, in the form of ``path``."""
    if path == MESSAGES:
        return [{**TOOL, "input_schema": schema, **members}]
    function = {**TOOL, "parameters": schema, **members}
    return [{"type": "function", **(function if path == RESPONSES else {"function": function})}]


def forced_tools() -> Iterator[Recovery]:
    for path in (CHAT, MESSAGES):
        choice = FORCED if path == CHAT else {"type": "tool", "name": "f"}
        body = body_for(path, tools=tools(path, EMPTY), tool_choice=choice)
        for message, member, value, edit in (
            ("Thinking mode does not support this tool_choice", "thinking", OFF, "thinking=disabled"),
            ("tool_choice 'specified' is incompatible with thinking enabled", "thinking", OFF, "thinking=disabled"),
            (QWEN, "enable_thinking", False, "enable_thinking=false"),
        ):
            yield Recovery(
                path, body, "chat", reject(message),
                lambda sent, name=member: (sent.get(name), sent.get("tool_choice")), (None, FORCED), (value, FORCED),
                (edit,), later=(path, {**body, "tool_choice": None}, (None, None)),
            )  # fmt: skip

    named = [*tools(CHAT, EMPTY), {"type": "function", "function": {"name": "g", "parameters": EMPTY}}]
    for path, offered, choice in (
        (CHAT, named, FORCED), (MESSAGES, [*tools(MESSAGES, EMPTY), {"name": "g", "input_schema": EMPTY}],
                                {"type": "tool", "name": "f"}),
    ):  # fmt: skip
        body = body_for(path, tools=offered, tool_choice=choice)
        yield Recovery(
            path, body, "chat", reject(ONLY_WORDS), lambda sent: (sent.get("tool_choice"), len(sent["tools"])),
            (FORCED, 2), ("required", 1), ("tool_choice=required",),
            later=(path, {**body, "tool_choice": None}, (None, 2)),
        )  # fmt: skip


# Token limits: Claude Code requests 32,000 tokens from every model (deepseek-ai/DeepSeek-V3#69,
# Gitlawb/openclaude#331). A deployment's name does not show its model (anomalyco/opencode#37964,
# BerriAI/litellm#8855).

VALID_RANGE = "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"
AZURE = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
OLDER_AZURE = "Unrecognized request argument supplied: max_completion_tokens"
OLD, NEW = "max_tokens", "max_completion_tokens"


def token_limits() -> Iterator[Recovery]:
    for path, own in ((CHAT, NEW), (MESSAGES, OLD), (RESPONSES, "max_output_tokens")):
        for api in APIS:
            yield Recovery(
                path, body_for(path, **{own: 32000}), api, reject(VALID_RANGE),
                lambda sent: [value for name, value in sent.items() if name.startswith("max_")], [32000], [8192],
                ("=8192",), later=(path, body_for(path, **{own: 100}), [100]),
            )  # fmt: skip
    of_azure = {"param": OLD, "code": "unsupported_parameter"}
    for old, new, answer in (
        (OLD, NEW, reject(AZURE, **of_azure)), (OLD, NEW, reject(AZURE)), (NEW, OLD, reject(OLDER_AZURE))
    ):  # fmt: skip
        yield Recovery(
            CHAT, body_for(CHAT, **{old: 100}), "chat", answer,
            lambda sent, old=old, new=new: (sent.get(old), sent.get(new)), (100, None), (None, 100), (f"{old}->{new}",),
        )  # fmt: skip


# Sampling settings of Claude models whose names do not show the model, as a profile's ARN at Bedrock does not
# (The-PR-Agent/pr-agent#2456, DayuanJiang/next-ai-draw-io#861, QuantumNous/new-api#5122)

DEPRECATED = "`temperature` is deprecated for this model."
EXCLUSIVE = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
SAMPLING = {"temperature": 0.5, "top_p": 0.9}


def sampling(sent: Any) -> list[str]:
    return [name for name in sent.get("inferenceConfig", sent) if name in ("temperature", "top_p", "topP")]


def sampling_settings() -> Iterator[Recovery]:
    for path in PATHS:
        for api in (*APIS, "converse"):
            second = "topP" if api == "converse" else "top_p"
            for message, left, edit in ((DEPRECATED, [second], "temperature"), (EXCLUSIVE, ["temperature"], second)):
                yield Recovery(
                    path, body_for(path, **SAMPLING), api, reject(message), sampling, ["temperature", second], left,
                    (edit,), "x-trigate-dropped",
                )  # fmt: skip


# System messages: Claude Code sends them among the others since 2.1.154 (anthropics/claude-code#63366,
# deepseek-ai/DeepSeek-V3#1370, QwenLM/Qwen#2244, MiniMax-AI/MiniMax-M2.7#43). Chat templates and MiniMax accept one
# (ggml-org/llama.cpp#27367, openclaw/openclaw#19386). Claude Code also sends JSON as the user's id
# (aattaran/deepclaude#17).

ROLE = (
    "Failed to deserialize the JSON body into the target type: messages[1].role: unknown variant `system`, expected "
    "`user` or `assistant` at line 1 column 213"
)
AT_THE_BEGINNING = "System message must be at the beginning."
NO_INSTRUCTIONS = "Developer instruction is not enabled for models/gemma-3-27b-it"  # 0xPlaygrounds/rig#788
MINIMAX = "invalid params, chat content has invalid message role: system (2013)"
USER_ID = (
    "Invalid 'user_id': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
)
ID = '{"device_id":"a1","session_id":"b2"}'
MARK = {"cache_control": {"type": "ephemeral"}}
SYSTEM, LATE = {"role": "system", "content": "a"}, {"role": "system", "content": "late"}
AS_USER = {"role": "user", "content": "<system>\nlate\n</system>"}
WITH_LATE: Mapping[str, dict[str, Any]] = {
    CHAT: {"messages": [SYSTEM, USER, LATE]},
    MESSAGES: {"system": "a", "messages": [USER, LATE]},
    RESPONSES: {"instructions": "a", "input": [USER, {"role": "developer", "content": "late"}]},
}


def system_messages() -> Iterator[Recovery]:
    for path in PATHS:
        for status in (400, 500):
            yield Recovery(
                path, body_for(path, **WITH_LATE[path]), "chat", reject(AT_THE_BEGINNING, status),
                lambda sent: sent["messages"] == [SYSTEM, USER, LATE] or sent["messages"], True,
                [SYSTEM, USER, AS_USER], ("messages[].role",), "x-trigate-dropped", model="vllm/Qwen",
            )  # fmt: skip
    system = [{"type": "text", "text": "You are an agent."}]
    for stream in (False, True):
        yield Recovery(
            MESSAGES, body_for(MESSAGES, system=system, messages=[USER, LATE], stream=stream), "messages", reject(ROLE),
            lambda sent: (sent["system"], sent["messages"]), (system, [USER, LATE]), (system, [USER, AS_USER]),
            ("messages[].role",), "x-trigate-dropped",
        )  # fmt: skip
    yield Recovery(
        MESSAGES, body_for(MESSAGES, **WITH_LATE[MESSAGES]), "messages", reject(MINIMAX),
        lambda sent: (sent["system"], sent["messages"]), ("a", [USER, LATE]), ("a", [USER, AS_USER]),
        ("messages[].role",), "x-trigate-dropped",
    )  # fmt: skip
    yield Recovery(
        CHAT, {"messages": [SYSTEM, {"role": "system", "content": "b"}, USER]}, "chat",
        reject("invalid params, invalid chat setting (2013)"), lambda sent: sent["messages"][:-1], None,
        [{"role": "system", "content": "a\n\nb"}], ("messages[].role",), "x-trigate-dropped",
    )  # fmt: skip
    for path in PATHS:
        said = {**SYSTEM, "role": "user", "content": "<system>\na\n</system>"}
        yield Recovery(
            path, body_for(path, **WITH_LATE[path]), "chat", reject(NO_INSTRUCTIONS),
            lambda sent: sent["messages"] == [SYSTEM, USER, LATE] or sent["messages"], True, [said, USER, AS_USER],
            ("messages=user",), model="vllm/gemma",
        )  # fmt: skip
        first = {name: value[:-1] if isinstance(value, list) else value for name, value in WITH_LATE[path].items()}
        yield Recovery(
            path, body_for(path, **first), "gemini", reject(NO_INSTRUCTIONS),
            lambda sent: ("systemInstruction" in sent, sent["contents"][0]["parts"]), (True, [{"text": "hi"}]),
            (False, [{"text": "<system>\na\n</system>"}]), ("contents=user",), model="gemini/gemma-3",
        )  # fmt: skip
    yield Recovery(
        MESSAGES, body_for(MESSAGES, metadata={"user_id": ID}), "messages", reject(USER_ID),
        lambda sent: re.sub("^[a-f0-9]{64}$", "digest", sent["metadata"]["user_id"]), ID, "digest",
        ("metadata.user_id=digest",),
    )  # fmt: skip


# JSON Schemas: models that only have JSON mode (BerriAI/litellm#7580, llm-exe/llm-exe#662), Claude at
# Bedrock without formats (vectorize-io/hindsight#3300, presenton/presenton#939), limits that Claude rejects
# (laravel/ai#715), tools of MCP servers without properties (langchain-ai/langchain-mcp-adapters#137, inboxapi/cli#106),
# and a JavaScript pattern in Claude Code's `Artifact` (raine/claude-code-proxy#141)

ANSWER = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
NO_SCHEMA = "This response_format type is unavailable now"
NO_FORMAT = "The model returned the following errors: output_config.format: Extra inputs are not permitted"
COMPLEX = "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."  # Gemini
LIMITS = "output_config.format.schema: For 'number' type, properties maximum, minimum are not supported"
NO_PROPERTIES = "Invalid schema for function 'mcp__x__list': In context=(), object schema missing properties."
COMBINED = (
    "Invalid schema for function 'update-event': schema must have type 'object' and not have "
    "'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
)
JAVASCRIPT = r"""^(?!__.*__$)[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}"\\./[\]]{1,200}$"""
BOUNDED = {
    "type": "object",
    "properties": {"maximum": {"type": "integer", "minimum": 1, "maximum": 9, "description": "The score."}},
    "required": ["maximum"],
    "additionalProperties": False,
}
IN_WORDS = {
    "type": "integer",
    "description": 'The score.\n\nLimits (JSON Schema): {"minimum":1,"maximum":9}',
}


def json_schema(path: str, schema: Any) -> dict[str, Any]:
    """Return the member of ``path`` that requests an answer with ``schema``."""
    if path == MESSAGES:
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    own = {"name": "x", "schema": schema, "strict": True}
    if path == RESPONSES:
        return {"text": {"format": {"type": "json_schema", **own}}}
    return {"response_format": {"type": "json_schema", "json_schema": own}}


def schema_in(sent: Any) -> Any:
    """Return the schema of the answer or of the only tool in a provider's request."""
    if tools := sent.get("tools"):
        return tools[0].get("input_schema") or tools[0].get("function", tools[0])["parameters"]
    if config := sent.get("toolConfig"):
        return config["tools"][0]["toolSpec"]["inputSchema"]["json"]
    if config := sent.get("outputConfig"):
        return json.loads(config["textFormat"]["structure"]["jsonSchema"]["schema"])
    return (sent.get("output_format") or sent["output_config"]["format"])["schema"]


def answer_format(sent: Any) -> Any:
    """Return the format of a Chat answer, and its schema: the format's own, or the last message's."""
    if (wanted := sent["response_format"]) == {"type": "json_object"}:
        found = format_in_words(sent["messages"][-1]["content"])
        return wanted, sent["messages"][:-1], found and found.schema
    return wanted["type"], sent["messages"], wanted["json_schema"]["schema"]


def enforced_or_described(sent: Any) -> tuple[bool, Any]:
    """Return whether a Messages or Converse request has the answer's format, and the schema that its text describes."""
    content = sent["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    found = format_in_words(text)
    return not {"output_config", "outputConfig"}.isdisjoint(sent), found and found.schema


def format_in_gemini(sent: Any) -> tuple[set[str], Any]:
    """Return the members for the answer's format in a Gemini request, and the schema that its last text describes."""
    found = format_in_words(sent["contents"][-1]["parts"][-1]["text"])
    return {name for name in sent["generationConfig"] if name.startswith("response")}, found and found.schema


def schemas() -> Iterator[Recovery]:
    for path, api in itertools.product(PATHS, ("messages", "converse")):
        yield Recovery(
            path, body_for(path, **json_schema(path, ANSWER)), api, reject(NO_FORMAT), enforced_or_described,
            (True, None), (False, ANSWER), (".",), "x-trigate-dropped",
            model="custom/anthropic.claude-opus-5" if api == "converse" else "custom/x",
        )  # fmt: skip
    for path in PATHS:
        yield Recovery(
            path, body_for(path, **json_schema(path, ANSWER)), "chat", reject(NO_SCHEMA), answer_format,
            ("json_schema", [USER], ANSWER), ({"type": "json_object"}, [USER], ANSWER), ("response_format",),
            "x-trigate-dropped",
        )  # fmt: skip
        for api in ("chat", "responses"):
            yield Recovery(
                path, body_for(path, tools=tools(path, {"type": "object"})), api, reject(NO_PROPERTIES), schema_in,
                {"type": "object"}, EMPTY, ("tools[].schema=complete",),
            )  # fmt: skip
    for path, members in (
        (CHAT, json_schema(CHAT, BOUNDED)), (MESSAGES, json_schema(MESSAGES, BOUNDED)),
        (MESSAGES, {"tools": tools(MESSAGES, BOUNDED, strict=True)}),
    ):  # fmt: skip
        yield Recovery(
            path, body_for(path, **members), "messages", reject(LIMITS), schema_in, BOUNDED,
            {**BOUNDED, "properties": {"maximum": IN_WORDS}}, ("schema=described",),
        )  # fmt: skip
    either = {"type": "object", "anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}
    yield Recovery(
        CHAT, body_for(CHAT, tools=tools(CHAT, either)), "responses", reject(COMBINED), schema_in, either,
        {"type": "object", "properties": {"a": {}, "b": {}}}, ("tools[].schema",), "x-trigate-dropped",
    )  # fmt: skip
    named, named_pattern = {"type": "string"}, {"type": "string", "pattern": JAVASCRIPT}
    schema = {"type": "object", "properties": {"a": named_pattern, "pattern": named}}
    yield Recovery(
        MESSAGES, body_for(MESSAGES, tools=tools(MESSAGES, schema)),
        "responses", reject(f"Invalid schema for function 'Artifact': '{JAVASCRIPT}' is not a 'regex'."),
        lambda sent: schema_in(sent)["properties"], {"a": named_pattern, "pattern": named},
        {"a": named, "pattern": named}, ("tools[].pattern",), "x-trigate-dropped",
    )  # fmt: skip


# Earlier turns: reasoning that is missing (BerriAI/litellm#26156, anomalyco/opencode#29690) or null
# (lidge-jun/opencodex#2237), ids and order of tool calls (langchain-ai/langchain#24668, zed-industries/zed#37021), a
# last message of the model (router-for-me/CLIProxyAPI#5319), and items for Codex's agents (openai/codex#45450,
# openai/codex#42067, lidge-jun/opencodex#3907)

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USE = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "call_1", "content": "done"}
CALLED: Mapping[str, list[dict[str, Any]]] = {
    CHAT: [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
           {"role": "tool", "tool_call_id": "call_1", "content": "done"}],
    MESSAGES: [USER, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}],
}  # fmt: skip
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AY89a18I"}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]}
TASK = {"type": "function_call_output", "id": "fco_1", "name": "create_thread", "namespace": "a", "output": "<task/>"}
DONE = {
    "type": "agent_message", "author": "/root/a", "recipient": "/root",
    "content": [{"type": "input_text", "text": "Done:"}, {"type": "encrypted_content", "encrypted_content": "3"}],
}  # fmt: skip
XAI = {"code": "invalid-argument", "error": "Could not decode the compaction blob. Ensure it is unmodified from the "
       "compact response."}  # fmt: skip
PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
TURNS = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "1, 2"}]
AGENTS = (
    (400, "Failed to deserialize the JSON body into the target type: input: missing field `call_id` at line 1 column "
     "81274"),
    (400, 'input[1]: unknown input item type: "agent_message"'),
    (422, "Failed to deserialize the JSON body into the target type: data did not match any variant of untagged enum "
     "ModelInput"),
)  # fmt: skip


def user_message(*texts: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text} for text in texts]}


def tool_turns(sent: Any) -> Any:
    """Return the roles in a Chat request, and whether each id of a call has nine letters and digits."""
    turns = sent["messages"]
    ids = {call["id"] for turn in turns for call in turn.get("tool_calls", ())}
    assert ids == {turn["tool_call_id"] for turn in turns if turn["role"] == "tool"}
    return [turn["role"] for turn in turns], all(re.fullmatch("[a-zA-Z0-9]{9}", id) for id in ids)


def roles(sent: Any) -> list[str]:
    return [item["role"] for item in sent.get("messages") or sent["input"]]


def earlier_turns() -> Iterator[Recovery]:
    for path, turns in CALLED.items():
        for message in (
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
        ):
            yield Recovery(
                path, body_for(path, messages=turns, tools=tools(path, EMPTY)), "chat", reject(message),
                lambda sent: (sent["messages"][1].get("reasoning_content"), sent["messages"][1]["tool_calls"]),
                (None, [CALL]), (" ", [CALL]), ("messages[].reasoning_content=blank",),
            )  # fmt: skip
    items, told = [user_message("hi"), {**THOUGHT, "content": None}, SAID], [user_message("hi"), THOUGHT, SAID]
    yield Recovery(
        RESPONSES, {"input": items, "store": False}, "responses", (Raw(400, JSON, (json.dumps(XAI).encode(),)),),
        lambda sent: sent["input"], items, told, ("input[].content=absent",), model="xai/x",
    )  # fmt: skip
    used, last = {**USE, "id": "toolu_01A09q90"}, {**RESULT, "tool_use_id": "toolu_01A09q90"}
    history = [USER, {"role": "assistant", "content": [used]},
               {"role": "user", "content": [last, {"type": "text", "text": "and now?"}]}]  # fmt: skip
    ids = "Tool call id was toolu_01A09q90qw90lq917835lq9 but must be a-z, A-Z, 0-9, with a length of 9."
    mistral = [reject(ids), reject("Unexpected role 'user' after role 'tool'")]
    for model in ("mistral/x", "custom/x"):
        yield Recovery(
            MESSAGES, body_for(MESSAGES, messages=history, tools=tools(MESSAGES, EMPTY)), "chat",
            tuple(answer for answers in mistral for answer in answers), tool_turns, None,
            (["user", "assistant", "tool", "assistant", "user"], True),
            ("messages[].tool_call_id=short", "messages[]+assistant"), model=model,
        )  # fmt: skip
    for api in (*APIS, "converse"):
        for stream in (False, True):
            chat = body_for(CHAT, messages=TURNS, stream=stream)
            last_turn = ["user", "assistant", "user"]
            for path, body in (
                (MESSAGES, body_for(MESSAGES, messages=TURNS, stream=stream)), (RESPONSES, {"input": TURNS}),
            ):  # fmt: skip
                yield Recovery(
                    path, body, api, reject(PREFILL), roles, ["user", "assistant"], last_turn, ("[]+user",),
                    later=(CHAT, chat, last_turn),
                )  # fmt: skip
    for status, message in AGENTS:
        for store in (False, True):
            yield Recovery(
                RESPONSES, {"input": [TASK, user_message("hi"), DONE], "store": store}, "responses",
                reject(message, status),
                lambda sent: sent["input"][::2] == [TASK, DONE] or sent["input"], True,
                [user_message("<task/>"), user_message("hi"), user_message("Done:", "3")], ("input[].type",),
                "x-trigate-dropped",
            )  # fmt: skip


# A history of several models: long ids of calls (vercel/ai#8132, AnswerDotAI/fastllm#45), blank texts
# (anomalyco/opencode#3375), and turns of one role (suitenumerique/conversations#197, vllm-project/vllm#6862,
# perplexityai/api-discussion#265)

LONG = f"call_{'a' * 80}\nfc_1"
SHORT = "call_" + hashlib.sha256(LONG.encode()).hexdigest()[:24]
TOO_LONG = (
    "Invalid '{}': string too long. Expected a string with maximum length {}, but got a string with length 90 instead."
)
INVALID_ID = "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
ROLES = "After the (optional) system message(s), user and assistant roles should be alternating."
NO_ALTERNATION = "Conversation roles must alternate user/assistant/user/assistant/..."


def with_call_id(value: Any, id: str) -> Any:
    return json.loads(json.dumps(value).replace('"call_1"', json.dumps(id)))


def histories() -> Iterator[Recovery]:
    items = [USER, {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
             {"type": "function_call_output", "call_id": "call_1", "output": "done"}]  # fmt: skip
    for path, member, turns, message in (
        (CHAT, "messages", CALLED[CHAT], TOO_LONG.format("messages[1].tool_calls[0].id", 40)),
        (RESPONSES, "input", items, TOO_LONG.format("input[1].call_id", 64)),
        (MESSAGES, "messages", CALLED[MESSAGES], INVALID_ID),
    ):  # fmt: skip
        own = {} if path == RESPONSES else {"tools": tools(path, EMPTY)}
        long, short = with_call_id(turns, LONG), with_call_id(turns, SHORT)
        yield Recovery(
            path, body_for(path, **{member: long}, **own), APIS[PATHS.index(path)], reject(message),
            lambda sent, member=member: sent[member], long, short, ("call_id=short",),
            later=(path, body_for(path, **{member: turns}, **own), turns),
        )  # fmt: skip
    said, other = texts("so")[0], {**USE, "id": "call_2"}
    mixed = [USER, {"role": "assistant", "content": [USE, said, other]},
             {"role": "user", "content": [RESULT, said, {**RESULT, "tool_use_id": "call_2"}]}]  # fmt: skip
    for message in (  # BerriAI/litellm#24361, V1ki/dsh-plugin-subscriptions#22
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: call_1, call_2. Each "
        "`tool_use` block must have a corresponding `tool_result` block in the next message.",
        "messages.2: Did not find 2 `tool_result` block(s) at the beginning of this message. Messages following "
        "`tool_use` blocks must begin with a matching number of `tool_result` blocks.",
    ):
        yield Recovery(
            MESSAGES, body_for(MESSAGES, messages=mixed, tools=tools(MESSAGES, EMPTY)), "messages", reject(message),
            lambda sent: [[block.get("type") for block in one["content"]] for one in sent["messages"][1:]],
            [["tool_use", "text", "tool_use"], ["tool_result", "text", "tool_result"]],
            [["text", "tool_use", "tool_use"], ["tool_result", "tool_result", "text"]],
            ("messages[].content=ordered",),
        )  # fmt: skip
    blank = {"type": "text", "text": "\n"}
    turns = [
        USER, {"role": "assistant", "content": [blank, USE]}, {"role": "user", "content": [RESULT]},
        {"role": "assistant", "content": " "}, {"role": "user", "content": [*texts("hi"), {**blank, **MARK}]},
    ]  # fmt: skip
    kept = [USER, *CALLED[MESSAGES][1:], {"role": "user", "content": [{**texts("hi")[0], **MARK}]}]
    for message in (
        "messages: text content blocks must contain non-whitespace text",
        "messages: text content blocks must be non-empty",
        "messages.3: all messages must have non-empty content except for the optional final assistant message",
    ):
        yield Recovery(
            MESSAGES, body_for(MESSAGES, messages=turns, tools=tools(MESSAGES, EMPTY)), "messages", reject(message),
            lambda sent: sent["messages"], turns, kept, ("messages[].content=nonblank",),
        )  # fmt: skip
    turns = [SYSTEM, {"role": "system", "content": "b"}, USER, {"role": "user", "content": texts("ho")}, USER]
    kept = [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": texts("hi", "ho", "hi")}]
    gone = [USER, {"role": "assistant", "content": []}, *CALLED[CHAT][:2], {**CALLED[CHAT][2], "content": ""}]
    for message in (  # AstrBotDevs/AstrBot#6551, OpenHands/OpenHands#8685
        "Invalid request content: Each message must have at least one content element.",
        "Assistant message must have either content or tool_calls, but not none.",
    ):
        yield Recovery(
            CHAT, {"messages": gone}, "chat", reject(message), lambda sent: sent["messages"], gone,
            [USER, *CALLED[CHAT][:2], {**CALLED[CHAT][2], "content": "(empty)"}], ("messages[].content=nonblank",),
        )  # fmt: skip
    for message in (
        f"{NO_ALTERNATION} {NO_ALTERNATION}",
        ROLES,
        f"After the optional system message, c{NO_ALTERNATION[1:]}",
    ):
        yield Recovery(
            CHAT, {"messages": turns}, "chat", reject(message), lambda sent: sent["messages"], turns, kept,
            ("messages[]=joined",), model="vllm/gemma",
        )  # fmt: skip
    nine = hashlib.sha256(b"call_1").hexdigest()[:9]
    for path, status in ((CHAT, 500), (MESSAGES, 500), (CHAT, 404)):  # ggml-org/llama.cpp#14349, ml-explore/mlx-lm#1375
        yield Recovery(
            path, body_for(path, messages=CALLED[path], tools=tools(path, EMPTY)), APIS[PATHS.index(path)],
            reject("Tool call IDs should be alphanumeric strings with length 9!", status),
            lambda sent: sent["messages"], CALLED[path], with_call_id(CALLED[path], nine),
            ("messages[].tool_call_id=short",),
        )  # fmt: skip


# Contents: lists of texts (QwenLM/qwen-code#2320, microsoft/PyRIT#704, mozilla-ai/any-llm#1228) and labels of images

SEQUENCE = (
    "Failed to deserialize the JSON body into the target type: messages[0]: invalid type: sequence, expected a string "
    "at line 1 column 99"
)
JOINED = [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "c\n\nd"}]
LABEL = "messages.18.content.1.image.source.base64.data: Image does not match the provided media type image/png"


def texts(*words: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, "text": word} for word in words]


LISTS: list[dict[str, Any]] = [
    {"role": "system", "content": texts("a", "b")},
    {"role": "user", "content": texts("c", "d")},
]


def image(label: str) -> list[dict[str, Any]]:
    data = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
    source = {"type": "base64", "media_type": label, "data": data}
    return [{"role": "user", "content": [{"type": "image", "source": source}]}]


def contents() -> Iterator[Recovery]:
    for headers in ({}, STRICT):  # strict mode allows it because nothing is lost
        yield Recovery(
            CHAT, {"messages": LISTS}, "chat", reject(SEQUENCE), lambda sent: sent["messages"], LISTS, JOINED,
            ("messages[].content=text",), model="deepseek/x", headers=headers,
        )  # fmt: skip
    yield Recovery(
        MESSAGES, body_for(MESSAGES, messages=image("image/png")), "messages", reject(LABEL),
        lambda sent: sent["messages"], image("image/png"), image("image/jpeg"), ("messages[].media_type=actual",),
        model="anthropic/x",
    )  # fmt: skip


# Turns that Converse rejects, and calls without a signature for Gemini 3, in Google's API in OpenAI's format

GEMINI, CONVERSE = "/v1beta/models/{model}:generateContent", "/model/{model}/converse"
USED = [{"role": "user", "content": [{"text": "a"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "call_1", "name": "f", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "done"}]}}]},
        ]  # fmt: skip
SIGNATURE = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
CORRUPTED = "Corrupted thought signature."  # router-for-me/CLIProxyAPI#994


def converse_and_gemini() -> Iterator[Recovery]:
    blank = [{"role": "user", "content": [{"text": " "}, {"text": "a"}]}]
    yield Recovery(
        CONVERSE, {"messages": blank}, "converse",
        reject("The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the text "
               "field, and try again."),
        lambda sent: sent["messages"], blank, USED[:1], ("messages[].content=nonblank",),
    )  # fmt: skip
    yield Recovery(
        CONVERSE, {"messages": USED}, "converse",
        reject("The toolConfig field must be defined when using toolUse and toolResult content blocks."),
        lambda sent: ("toolConfig" in sent, sent["messages"]), (False, USED), (True, USED), ("toolConfig=called",),
    )  # fmt: skip
    asked = [{"role": "user", "content": "a"}, *CALLED[CHAT][1:], {"role": "user", "content": "c"}]
    bridged = [{"role": "assistant", "content": [{"text": "I have read the results."}]},
               {"role": "user", "content": [{"text": "c"}]}]  # fmt: skip
    yield Recovery(
        CHAT, {"messages": asked, "tools": tools(CHAT, EMPTY)}, "converse",
        reject("messages.2.content: Conversation blocks and tool result blocks cannot be provided in the same turn."),
        lambda sent: sent["messages"], None, [*USED, *bridged], ("messages[]=split",),
    )  # fmt: skip
    yield Recovery(
        CHAT, {"messages": [SYSTEM, USER]}, "converse",
        reject("This model doesn't support system messages. Try again without a system message or use a model that "
               "supports system messages."),  # danny-avila/LibreChat#6456, 567-labs/instructor#1753
        lambda sent: ("system" in sent, sent["messages"][0]["content"]), (True, [{"text": "hi"}]),
        (False, [{"text": "<system>\na\n</system>"}, {"text": "hi"}]), ("messages=user",),
    )  # fmt: skip
    yield Recovery(
        CHAT, {"messages": CALLED[CHAT]}, "chat",
        reject("Function call is missing a thought_signature in functionCall parts."),
        lambda sent: sent["messages"][1]["tool_calls"], [CALL], [{**CALL, **SIGNATURE}],
        ("messages[].tool_calls[].extra_content=placeholder",), model="gemini/gemini-3",
    )  # fmt: skip


RECOVERIES = [
    row
    for table in (
        thinking,
        forced_tools,
        token_limits,
        sampling_settings,
        system_messages,
        schemas,
        earlier_turns,
        contents,
        converse_and_gemini,
    )
    for row in table()
]
STATES_VERSION = ("anthropic/", "xai/", "mistral/", "deepseek/")
"""Providers whose base URL has no version."""


def entry(url: str, number: int, model: str, api: str) -> dict[str, Any]:
    """Return the entry of a model of its own, because the gateway remembers rejections by model."""
    base = url if api == "converse" or model.startswith(STATES_VERSION) else f"{url}/v1"
    more = {"provider_interface": "openai"} if (model, api) == ("custom/x", "chat") else {}
    return provider(f"{model}-{number}", base, [api], name=f"r{number}", **more)


@serve_module
def gateway(upstream):
    known = [("deepseek/deepseek-chat", "chat"), ("openai/gpt-4o", "chat"), ("anthropic/claude-haiku-5-5", "messages"),
             ("custom/claude-opus-5", "messages"), ("custom/anthropic.claude-opus-5", "converse")]  # fmt: skip
    entries = [entry(upstream.url, number, row.model, row.api) for number, row in enumerate(RECOVERIES)]
    entries += [{**entry(upstream.url, 0, *one), "model": one[0], "name": one[0]} for one in known]
    entries += [entry(upstream.url, -number, "vllm/Qwen", "chat") for number in range(1, 6)]
    for number, (_, api, *_) in enumerate(VALUES):
        one = entry(upstream.url, number, f"{'gemini' if api == 'gemini' else 'custom'}/value", api)
        entries += [{**one, "model": f"{one['model']}-{name}", "name": f"{name}{number}"} for name in "vw"]
    return config(entries)


@each_row(
    ("number", "row"), [*enumerate(RECOVERIES)], ids=[f"{one.path} at {one.api}: {one.edits}" for one in RECOVERIES]
)
def test_the_request_continues_in_another_shape_and_this_is_remembered(gateway, upstream, number, row):
    upstream.script(*row.rejections, *(Script(text='{"a": "b"}') for _ in range(3)))
    path, body = row.path.format(model=f"r{number}"), {"model": f"r{number}", **row.body}
    replies = [gateway.request("POST", path, body, row.headers) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200], replies[0].body
    assert replies[0].headers["x-trigate-attempts"] == str(1 + len(row.rejections))
    assert all(edit in reply.headers[row.edit_header] for reply in replies for edit in row.edits)
    assert (row.edit_header == "x-trigate-dropped") or "x-trigate-dropped" not in replies[1].headers
    expected = [row.after] * 2
    if row.later is not None:
        path, body, part = row.later
        assert gateway.request("POST", path, {"model": f"r{number}", **body}).status == 200
        expected = [*expected, part]
    count, parts = len(row.rejections), [row.reads(seen.json) for seen in upstream.seen]
    assert parts[count:] == expected
    assert row.before is None or parts[:count] == [row.before] * count


@each_row(
    ("number", "rejections", "body", "headers", "requests"),
    [
        (-1, 2 * reject(AT_THE_BEGINNING), WITH_LATE[CHAT], {}, 2),
        (-2, reject(AT_THE_BEGINNING), WITH_LATE[CHAT], STRICT, 1),
        (-3, reject(AT_THE_BEGINNING), {"messages": [USER]}, {}, 1),
        (-4, reject(NO_SCHEMA), body_for(CHAT, **json_schema(CHAT, ANSWER)), STRICT, 1),
        (
            -5,
            reject("all messages must have non-empty content"),
            {"messages": [{"role": "user", "content": ["a"]}]},
            {},
            1,
        ),
    ],
    ids=["rejected again", "strict mode", "nothing to change", "a schema in strict mode", "an odd block"],
)
def test_a_rejection_that_no_change_avoids_is_the_clients(
    gateway, upstream, number, rejections, body, headers, requests
):
    upstream.script(*rejections, Script(text="yes"))
    reply = gateway.request("POST", CHAT, {"model": f"r{number}", **body}, headers)
    assert (reply.status, len(upstream.seen)) == (400, requests)
    assert re.search(b"must be at the beginning|messages\\[\\].role|response_format|non-empty content", reply.body)


# A rejection of a value does not concern other values.

BUDGET = "The thinking budget 32768 is invalid. Please choose a value between 512 and 24576."
ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 4000}}
NO_SUMMARY = "Unsupported value: 'concise' is not supported with the 'gpt-5' model. Supported values are: 'auto'."
NO_CHOICE = "This model doesn't support the toolConfig.toolChoice.tool field. Remove toolConfig.toolChoice.tool and try"
AUTO = {"summary": "auto"}
HI = [{"role": "user", "content": [{"text": "hi"}]}]


def choose(choice: dict[str, Any]) -> dict[str, Any]:
    spec = {"toolSpec": {"name": "f", "inputSchema": {"json": EMPTY}}}
    return {"messages": HI, "toolConfig": {"tools": [spec], "toolChoice": choice}}


VALUES: list[tuple[str, str, tuple[Raw, ...], dict[str, Any], dict[str, Any]]] = [
    (MESSAGES, "messages", reject("adaptive thinking is not supported on this model"),
     {"thinking": {"type": "adaptive"}}, ENABLED),
    (MESSAGES, "messages", reject('"thinking.type.disabled" is not supported for this model.'), DISABLED[MESSAGES],
     ENABLED),
    (CHAT, "chat", reject("reasoning_effort must be one of none or default"), HIGH[CHAT], {"reasoning_effort": "none"}),
    (CHAT, "chat", reject(EXCLUSIVE), SAMPLING, {"top_p": 0.9}),
    (RESPONSES, "responses", reject(NO_SUMMARY, code="unsupported_value", param="reasoning.summary"),
     {"reasoning": {"summary": "concise"}}, {"reasoning": AUTO}),
    (CHAT, "gemini", reject(BUDGET), HIGH[CHAT], {"reasoning_effort": "low"}),
    (CHAT, "gemini", reject(COMPLEX), json_schema(CHAT, ANSWER), json_schema(CHAT, EMPTY)),
    (CONVERSE, "converse", reject(f"{NO_CHOICE} again."), choose({"tool": {"name": "f"}}),
     choose({"any": {}})),
]  # fmt: skip


@each_row(("number", "row"), [*enumerate(VALUES)], ids=[row[2][0].pieces[0].decode()[:60] for row in VALUES])
def test_another_value_is_sent_after_the_rejection_of_one(gateway, upstream, number, row):
    path, _, rejections, rejected, accepted = row
    upstream.script(*rejections, *(Script(text='{"a": "b"}') for _ in range(3)))
    replies = [
        gateway.request(
            "POST", path.format(model=f"{name}{number}"), {"model": f"{name}{number}", **body_for(path, **members)}
        )
        for name, members in (("v", rejected), ("v", accepted), ("w", accepted))
    ]
    assert [reply.headers["x-trigate-attempts"] for reply in replies] == ["2", "1", "1"]
    assert "x-trigate-dropped" in replies[0].headers
    after, alone = ({**seen.json, "model": ""} for seen in upstream.seen[-2:])
    assert after == alone


@each_row("path", PATHS)
def test_gemini_gets_a_schema_that_it_rejects_as_an_instruction(gateway, upstream, path):
    upstream.script(*reject(COMPLEX), Script(text='{"a": "b"}'))
    reply = gateway.request("POST", path, {"model": "v6", **body_for(path, **json_schema(path, ANSWER))})
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "2")
    assert "generationConfig.responseSchema" in reply.headers["x-trigate-dropped"]
    assert [format_in_gemini(seen.json) for seen in upstream.seen] == [
        ({"responseMimeType", "responseJsonSchema"}, None), ({"responseMimeType"}, ANSWER),
    ]  # fmt: skip


def test_a_signature_of_another_model_is_replaced_each_time(gateway, upstream):
    number = next(at for at, row in enumerate(RECOVERIES) if row.model == "gemini/gemini-3")
    upstream.script(*(one for _ in range(2) for one in (*reject(CORRUPTED), Script(text="yes"))))
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "CiQB"}}}
    turns = json.loads(json.dumps(CALLED[CHAT]).replace(json.dumps(CALL), json.dumps(signed)))
    for _ in range(2):
        assert gateway.request("POST", CHAT, {"model": f"r{number}", "messages": turns}).status == 200
    called = [seen.json["messages"][1]["tool_calls"] for seen in upstream.seen]
    assert called == [[signed], [{**CALL, **SIGNATURE}]] * 2  # another signature may be valid


# Models that are known to need another shape get it immediately

IN_CONVERSE = {"system": [{"text": "a"}, {"text": "b"}],
               "messages": [{"role": "user", "content": [{"text": "c"}, {"text": "d"}]}]}  # fmt: skip
AS_INPUT = [{**one, "content": texts(*(text["text"] for text in one["content"]), kind="input_text")} for one in LISTS]
WITH_LISTS: Mapping[str, dict[str, Any]] = {
    MESSAGES: {"max_tokens": 9, "system": texts("a", "b"), "messages": LISTS[1:]},
    RESPONSES: {"input": AS_INPUT},
    GEMINI: {"systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
             "contents": [{"role": "user", "parts": [{"text": "c"}, {"text": "d"}]}]},
    CONVERSE: IN_CONVERSE,
}  # fmt: skip
STREAMED = {GEMINI: GEMINI.replace(":g", ":streamG"), CONVERSE: f"{CONVERSE}-stream"}


@each_row("stream", [False, True])
@each_row("path", WITH_LISTS)
def test_translated_messages_have_one_text(gateway, upstream, path, stream):
    sent = STREAMED.get(path, path) if stream else path
    members = {"model": "deepseek/deepseek-chat", "stream": stream} if path.startswith("/v1/") else {}
    upstream.script(Script(text="yes"))
    reply = gateway.request("POST", sent.format(model="deepseek%2Fdeepseek-chat"), WITH_LISTS[path] | members)
    assert reply.status == 200, reply.body
    assert [seen.json["messages"] for seen in upstream.seen] == [JOINED]


def test_openai_gets_the_lists(gateway, upstream):
    upstream.script(Script(text="yes"))
    reply = gateway.request("POST", MESSAGES, {"model": "openai/gpt-4o", **WITH_LISTS[MESSAGES]})
    assert reply.status == 200, reply.body
    assert upstream.seen[0].json["messages"] == LISTS


def bounded_requests() -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield requests with ``BOUNDED`` as the schema of the answer, and as that of a strict tool."""
    for path in PATHS:
        yield path, body_for(path, **json_schema(path, BOUNDED))
    yield MESSAGES, body_for(MESSAGES, output_format={"type": "json_schema", "schema": BOUNDED})  # an older SDK
    for path in (CHAT, MESSAGES):
        yield path, body_for(path, tools=tools(path, BOUNDED, strict=True))
    turns = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    named = {"name": "x", "schema": json.dumps(BOUNDED)}
    text_format = {"type": "json_schema", "structure": {"jsonSchema": named}}
    yield CONVERSE, {**turns, "outputConfig": {"textFormat": text_format}}
    spec = {**TOOL, "inputSchema": {"json": BOUNDED}, "strict": True}
    yield CONVERSE, {**turns, "toolConfig": {"tools": [{"toolSpec": spec}]}}


@each_row("model", ["custom/claude-opus-5", "custom/anthropic.claude-opus-5"])
@each_row(("path", "body"), [*bounded_requests()])
def test_claude_gets_limits_of_schemas_as_descriptions(gateway, upstream, model, path, body):
    upstream.script(Script(text='{"maximum": 3}'))
    reply = gateway.request("POST", path.format(model=model.replace("/", "%2F")), {"model": model, **body})
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    assert schema_in(seen.json) == {**BOUNDED, "properties": {"maximum": IN_WORDS}}
    assert ".schema=described" in reply.headers["x-trigate-adapted"]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9, multiple_of=1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(min_length=2, max_length=9, pattern=r"^\b\w+$")


class Home(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(min_length=2, max_length=4)
    area: float = Field(gt=0, lt=1000)


def test_a_pydantic_schema_of_the_openai_sdk_reaches_claude(gateway, upstream):
    answer = {"pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}], "area": 80}
    upstream.script(Script(text=json.dumps(answer)))
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0) as client:
        completion = client.chat.completions.parse(
            model="anthropic/claude-haiku-5-5", messages=[{"role": "user", "content": "hi"}], response_format=Home
        )
    assert completion.choices[0].message.parsed == Home.model_validate(answer)
    sent = schema_in(upstream.seen[0].json)
    text = json.dumps(sent["$defs"]["Dog"]["properties"]["name"])
    assert all(limit in text for limit in ("minLength", "maxLength", "pattern"))
    assert sent["properties"]["pets"]["minItems"] == 1
    assert list(sent["properties"]["pets"]["items"]) == ["anyOf", "description"]
    assert describe_limits(sent) == sent
