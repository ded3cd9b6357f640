"""Rejections of settings and tools of a request.

- Thinking, by models without it or with another form of it. Claude Code and Codex send such settings to every model
  (Gitlawb/openclaude#1371, anthropics/claude-code#68551).
- A forced tool call while the model thinks. DeepSeek V4, Kimi and Qwen think unless the request forbids it, and reject
  ``tool_choice: required`` and a named tool then (deepseek-ai/DeepSeek-V3#1376, can1357/oh-my-pi#1077,
  cloudwego/eino#994). Each has a member that turns thinking off.
- Thinking without a stream, by Qwen 3, which thinks unless the request forbids it.
- A stream, by models that have only whole answers, to all requests (BerriAI/litellm#7693, Aider-AI/aider#2841), to
  those of unverified organizations (RooCodeInc/Roo-Code#6868, charmbracelet/crush#1017, QuantumNous/new-api#1591), or
  to those with tools (earendil-works/pi#3739, n8n-io/n8n#14206, vercel-labs/fx#900).
- A token limit above what the model can answer. Programs request tens of thousands of tokens from every model
  (deepseek-ai/DeepSeek-V3#69, Gitlawb/openclaude#331, aws-samples/bedrock-access-gateway#41).
- A JSON Schema for the answer, by models that only have JSON mode, such as DeepSeek and some models at Groq
  (BerriAI/litellm#7580, llm-exe/llm-exe#662). Gemini rejects schemas that are deep or have many limits
  (googleapis/python-genai#660, googleapis/js-genai#882, Portkey-AI/gateway#1616). Claude at Bedrock only has it in
  some models and regions, where others accept it (vectorize-io/hindsight#3300, presenton/presenton#939,
  anthropics/anthropic-sdk-python#1759).
- The end user's id, by Messages servers that allow only some characters. Claude Code sends JSON as the id since
  2.1.129; DeepSeek rejects it (aattaran/deepclaude#17).
- Tools because of their JSON Schemas, which other providers accept. MCP servers describe tools without arguments as
  ``{"type": "object"}``, which OpenAI rejects (langchain-ai/langchain-mcp-adapters#137, modelcontextprotocol's Go
  SDK: xpzouying/xiaohongshu-mcp#677). So it does with JavaScript's patterns, such as that of Claude Code's tool
  ``Artifact`` (raine/claude-code-proxy#141). One such tool fails every request of an agent.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from providers.errors.member_paths import Path
from providers.errors.system_place import mark_text
from providers.errors.words import Change, Words, change_list, omit
from providers.neutral.fields import Drops
from providers.neutral.formats import describe_schema, end_of_prompt
from providers.neutral.schemas import answer_schema, is_combined, map_schemas, object_schema, typed_object

_TOOL: Final = r"Invalid schema for function '[\w.:\-]{1,200}': "

INCOMPLETE: Final = Words.of(
    # OpenAI (microsoft/playwright-mcp#1191, sigoden/aichat#1049), DeepSeek (farion1231/cc-switch#5490)
    r"(?:In context=\([\w'\"$, \-]{0,300}\), )?(?:object schema missing properties|array schema missing items)"
    r"|schema must be a JSON Schema of 'type: \"object\"', got 'type: \"?(?:None|null)\"?'"
    # Anthropic
    r"|tools\.\d{1,5}\.custom\.input_schema\.type: (?:Field required|Input should be 'object')"
    # Converse (earendil-works/pi#8279, cognitect-labs/aws-api#272)
    r"|The value at toolConfig\.tools\.\d{1,5}\.toolSpec\.inputSchema\.json\.type must be one of the following: object",
    f"(?:{_TOOL})?",
)
COMBINED: Final = Words.of(
    # OpenAI (langchain-ai/langchainjs#9804), Anthropic (anthropics/claude-code#5319)
    r"schema must have type 'object' and not have (?:'\w{1,20}'/){1,9}'\w{1,20}' at the top level"
    r"|tools\.\d{1,5}\.custom\.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    f"(?:{_TOOL})?",
)

LIMITS: Final = Words.of(
    # Anthropic, also at OpenRouter and Bedrock (sherifkozman/the-llm-council#55, BerriAI/litellm#29624), of answers and
    # of strict tools (experientiallabs/experiential#804)
    r"(?:output_config\.format\.schema|output_format\.schema|tools\.\d{1,5}\.custom(?:\.input_schema)?): "
    r"(?:For '\w{1,20}' type, (?:property '\w{1,40}' is|properties [\w, ]{1,200} are"
    r"|'minItems' values other than 0 or 1 are) not supported|Schema type 'oneOf' is not supported)",
    r"(?:The model returned the following errors: )?",
)

_LOOKAROUND: Final = r"Invalid JSON schema: regex lookaround is not supported"  # vercel/ai#20021
PATTERNS: Final = Words(
    # OpenAI compiles them with Python's `re` (raine/claude-code-proxy#141).
    rf"' is not a 'regex'|{_LOOKAROUND}",
    rf"{_TOOL}'[^\n]{{1,1000}}' is not a 'regex'\.?|(?:{_TOOL})?{_LOOKAROUND}\.?",
)


def complete(schema: Any) -> Any:
    """Return a tool's ``schema`` whose root has a type.

    Each object has ``properties``, each array ``items``. The added ones allow every value."""
    return map_schemas(typed_object(schema), _add_members)


def merge_combination(schema: Any) -> Any:
    """Return a tool's ``schema`` whose root combines no other schemas."""
    return object_schema(schema, "", Drops()) if is_combined(schema) else schema


def omit_patterns(schema: Any) -> Any:
    """Return a tool's ``schema`` without regular expressions."""
    return map_schemas(schema, _remove_patterns)


def _remove_patterns(schema: dict[str, Any]) -> None:
    schema.pop("pattern", None)
    schema.pop("patternProperties", None)


def _add_members(schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" in kinds:
        schema.setdefault("properties", {})
    if "array" in kinds:
        schema.setdefault("items", {})


def change_schemas(tool: Any, change: Callable[[Any], Any]) -> Any:
    """Return ``tool`` after ``change`` of its schema, or a holder of tools after ``change`` of all their schemas."""
    if not isinstance(tool, dict):
        return tool
    found = dict(tool)
    for name in ("parameters", "input_schema"):
        if isinstance(found.get(name), dict):
            found[name] = change(found[name])
    for name in ("function", "toolSpec", "toolConfig"):
        if isinstance(found.get(name), dict):
            found[name] = change_schemas(found[name], change)
    if isinstance(found.get("inputSchema"), dict) and isinstance(found["inputSchema"].get("json"), dict):
        found["inputSchema"] = {**found["inputSchema"], "json": change(found["inputSchema"]["json"])}
    if isinstance(found.get("tools"), list):  # a request, or a namespace of Responses
        found["tools"] = [change_schemas(inner, change) for inner in found["tools"]]
    return found


EFFORTS: Final[tuple[Path, ...]] = (("reasoning_effort",), ("output_config", "effort"))
THINKING: Final[tuple[Path, ...]] = (("thinking",), ("reasoning",), *EFFORTS, ("generationConfig", "thinkingConfig"))
"""The paths of an effort in Chat and Messages, and those of all settings for thinking."""

UNSUPPORTED: Final = Words.of(
    # Ollama (ollama/ollama#12561)
    r"\"[\w.:/\-]{1,200}\" does not support thinking"
    # Groq
    r"|[`']?reasoning_effort[`']? is not supported with this model"
    # Gemini (lobehub/lobehub#7985, RooCodeInc/Roo-Code#10700, googleapis/js-genai#681)
    r"|Thinking is not enabled for models/[\w.\-]{1,200}"
    r"|[Tt]hinking(?:[_ ]\w{1,20})? is not supported (?:by|for) this model"
    r"|thinking_config is not supported",
    r"(?:Unable to submit request because )?",
    r"(?:\.{0,2} Learn more: https://[\w./\-]{1,200})?\.?",
) | Words.of_value(
    # of models that always think, and of other ranges (mozilla-ai/any-llm#1294)
    r"Budget 0 is invalid\. This model only works in thinking mode"
    r"|The thinking budget \d{1,9} is invalid\. Please choose a value between \d{1,9} and \d{1,9}"
    r"|thinking_budget is out of range; supported values are integers from \d{1,9} to \d{1,9}"
    r"|Thinking_config\.include_thoughts is only enabled when thinking is enabled"
)
NOT_ADAPTIVE: Final = Words.of(  # agentforce314/clawcodex#699, and Qwen's Messages (anthropics/claude-code#29531)
    r"adaptive thinking is not supported on this model"
    r"|Only 'enabled' and 'disabled' are supported for thinking; 'adaptive' is not supported"
)
NOT_DISABLED: Final = Words.of(  # ex-machina-co/opencode-anthropic-auth#160
    r"\"thinking\.type\.disabled\" is not supported for this model",
    after=r"(?:\. Thinking defaults to adaptive mode when not specified; use [\w\"., ]{1,100} for extended thinking)?"
    r"\.?",
)
NO_LEVELS: Final = Words.of(  # Ollama (ollama/ollama#12561), Groq (earendil-works/pi#1745)
    r"think value \"\w{1,20}\" is not supported for this model"
    r"|[`']?reasoning_effort[`']? must be one of [`']?none[`']? or [`']?default[`']?"
)
UNSUPPORTED_EFFORT: Final = Words.of(
    r"This model does not support the effort parameter"  # Oaklight/llm-rosetta#289
    # Copilot (caozhiyuan/copilot-api#286)
    r"|[\w.]{1,40} \"\w{1,20}\" was provided, but model [\w.:/\-]{1,200} does not support reasoning effort"
)
DISABLED: Final = Words.of(  # DeepSeek (anthropics/claude-code#65863, lobehub/lobehub#14173)
    r"thinking options type cannot be disabled when reasoning_effort is set"
)
ADAPTIVE: Final = Words.of(  # handochan/aelix-ai#258
    r"\"thinking\.type\.enabled\" is not supported for this model\. Use \"thinking\.type\.adaptive\"",
    after=r"(?: and \"output_config\.effort\" to control thinking behavior)?\.?",
)

_UNFORCED: Final = ("auto", "none")

DEEPSEEK_OR_KIMI: Final = Words.of(
    r"(?:Thinking mode|deepseek-[\w.\-]{1,100}) does not support this tool_choice"
    r"|tool_choice '?(?:specified|required)'? is incompatible with thinking enabled"
)
QWEN: Final = Words.of(
    r"The tool_choice parameter does not support being set to required or object in thinking mode",
    r"(?:<400> InternalError\.Algo\.InvalidParameter: )?",
)

# QuantumNous/new-api#1109, browser-use/web-ui#659, ModelScope (musistudio/claude-code-router#948)
ONLY_STREAMED: Final = Words.of(
    r"parameter\.enable_thinking must be set to false for non-streaming calls"
    r"|enable thinking can not be support when `stream=False`"
)


def turn_off_unless_streamed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed member of a ``body`` that requests a whole answer: no thinking; ``{}`` for other bodies."""
    return {} if body.get("stream") or body.get("enable_thinking") is False else {"enable_thinking": False}


NOT_STREAMED: Final = Words.of(
    # OpenAI, Azure
    r"Unsupported value: 'stream' does not support (?i:true) with this model"
    r"|Your organization must be verified to stream this model"
    # Bedrock (aws-samples/amazon-bedrock-client-for-mac#112, run-llama/llama_index#19655)
    r"|The model is unsupported for streaming",
    after=r"\.?(?: Only the default \((?i:false)\) value is supported\.?| Supported values are: (?i:false)\.?"
    r"| Please go to: https://platform\.openai\.com/[\w/]{1,100} and click on Verify Organization\."
    r"(?: If you just verified, it can take up to 15 minutes for access to propagate\.)?)?",
)
TOOLS_NOT_STREAMED: Final = Words.of(r"This model doesn't support tool use in streaming mode")  # Bedrock


def omit_stream(more: Iterable[str]) -> Change:
    """Return a function that returns the changed members of a body that requests a stream and has the members ``more``:
    a whole answer; ``{}`` for other bodies."""

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        if not body.get("stream") or not all(map(body.get, more)):
            return {}
        return {"stream": False} | ({"stream_options": None} if "stream_options" in body else {})

    return change


# LM Studio (lmstudio-ai/lmstudio-bug-tracker#670, can1357/oh-my-pi#6925)
NAMED_CHOICE: Final = Words.of(r"Invalid tool_choice type: 'object'\. Supported string values: none, auto, required")


def require_only(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a ``body`` that forces a named tool: ``required``, and that tool alone; ``{}`` for
    other bodies."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    name = _name_of(choice)
    named = [tool for tool in tools if _name_of(tool) == name] if isinstance(tools, list) and name else []
    return {"tool_choice": "required", "tools": named} if named else {}


def _name_of(tool: Any) -> Any:
    inner = tool.get("function", tool) if isinstance(tool, dict) else None
    return inner.get("name") if isinstance(inner, dict) else None


def thinking_state(body: Mapping[str, Any]) -> str:
    """Return the type of thinking that ``body`` requests, or its effort without one."""
    holders = (("thinking", "type"), ("reasoning", "effort"), ("output_config", "effort"))
    nested = [body[name].get(inner) for name, inner in holders if isinstance(body.get(name), dict)]
    return str(next(iter(nested), body.get("reasoning_effort")))


# Claude from 4.1 (QuantumNous/new-api#5122), also at Bedrock
EXCLUSIVE: Final = Words.of(
    r"[`']?temperature[`']? and [`']?top_p[`']? cannot both be specified for this model",
    r"(?:The model returned the following errors: )?",
    r"(?:\. Please use only one)?\.?",
)


def omit_top_p(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed member of a ``body`` with a temperature, without ``top_p``; ``{}`` unless it has both."""
    config = body.get("inferenceConfig")
    if isinstance(config, dict) and config.keys() >= {"temperature", "topP"}:
        return omit(("inferenceConfig", "topP"))(body)
    return {} if body.get("temperature") is None else omit(("top_p",))(body)


def adaptive(thinking: Any) -> Any:
    """Return the value of a Messages request's ``thinking``, adaptive instead of with a budget."""
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return thinking
    return {name: value for name, value in thinking.items() if name != "budget_tokens"} | {"type": "adaptive"}


def turn_thinking_off(member: str, value: Any) -> Change:
    """Return a function that returns the changed members of a body that forces a tool call, ``{}`` for other bodies.

    ``member`` with ``value`` turns thinking off, so that the call stays certain."""

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        if not _is_forced(body.get("tool_choice")) or body.get(member) == value:
            return {}
        return {member: value} | omit(("reasoning_effort",))(body)

    return change


def _is_forced(choice: Any) -> bool:
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind is not None and kind not in _UNFORCED


LIMITED: Final[tuple[Path, ...]] = (
    ("max_tokens",), ("max_completion_tokens",), ("max_output_tokens",), ("generationConfig", "maxOutputTokens"),
    ("generation_config", "max_output_tokens"), ("inferenceConfig", "maxTokens"),
)  # fmt: skip
"""The paths of token limits in all APIs."""

_NUMBER: Final = r"\d{1,9}"
_LIMIT: Final = rf"(?P<limit>{_NUMBER})"
_NAME: Final = r"[`']?max_(?:completion_|output_)?tokens[`']?"
LIMIT_SENTENCES: Final = (
    # OpenAI, MiMo
    rf"{_NAME} is too large: {_NUMBER}\. This model supports at most {_LIMIT} completion tokens"
    rf"(?:, whereas you provided {_NUMBER})?",
    rf"Invalid {_NAME}: integer above maximum value\. Expected a value <= {_LIMIT}(?:, but got {_NUMBER} instead)?",
    # DeepSeek, Qwen
    rf"Invalid {_NAME} value, the valid range of {_NAME} is \[1, {_LIMIT}\]",
    rf"(?:<400> InternalError\.Algo\.InvalidParameter: )?Range of {_NAME} should be \[1, {_LIMIT}\]",
    # Groq, Zhipu
    rf"{_NAME} must be less than or equal to `?{_LIMIT}`?"
    rf"(?:, the maximum value for {_NAME} is less than the `context_window` for this model)?",
    rf"{_NAME} should be less or equal to {_LIMIT}",
    # Anthropic, Bedrock
    rf"{_NAME}: {_NUMBER} > {_LIMIT}, which is the maximum allowed number of output tokens(?: for [\w.:\-]{{1,100}})?",
    rf"The maximum tokens you requested exceeds? the model limit of {_LIMIT}"
    rf"(?:\. Try again with a maximum tokens value that is lower than {_NUMBER})?",
    # Vertex AI
    rf"(?:Unable to submit request because )?it has a maxOutputTokens value of {_NUMBER} but the supported range is "
    rf"from 1 \(inclusive\) to (?P<above>{_NUMBER}) \(exclusive\)(?:\. Update the value and try again)?",
    # Doubao
    rf"The parameter {_NAME} specified in the request are not valid: integer above maximum value, expected a value <= "
    rf"{_LIMIT}, but got {_NUMBER} instead(?:\. Request id: \w{{1,100}})?",
)
"""The words about token limits above what a model can answer, with the model's limit, or one more."""


def stated_limit(found: re.Match[str]) -> int:
    """Return the most tokens that a model can answer, which a match of ``LIMIT_SENTENCES`` states."""
    named = found.groupdict()
    return int(named["limit"]) if "limit" in named else int(named["above"]) - 1


def lower(value: Any, limit: int) -> Any:
    """Return a number of at most ``limit``, and other values unchanged."""
    return min(value, limit) if isinstance(value, int) else value


_GEMINI_SCHEMAS: Final = ("responseSchema", "responseJsonSchema")

_NO_SCHEMA: Final = (
    r"This response_format type is unavailable now"
    r"|response_format: response_format\.type `?json_schema`? is unavailable now"
    r"|This model does not support response format `json_schema`"
)
SCHEMA_WORDS: Final = Words.of(
    _NO_SCHEMA,
    r"(?:Failed to deserialize the JSON body into the target type: )?",
    r"(?: at line \d+ column \d+)?\.?(?: See supported models at https://[\w./#\-]{1,200})?",
) | Words.of_value(  # Gemini
    r"The specified schema produces a constraint that has too many states for serving"
    r"|A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth"
)


def use_json_mode(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a Chat or Gemini ``body``: JSON mode, and an instruction with the schema after the
    last message that is not the model's. Return ``{}`` for a body without a schema."""
    if isinstance(config := body.get("generationConfig"), dict):
        return _use_json_in_gemini(config, body.get("contents"))
    format, messages = body.get("response_format"), body.get("messages")
    if not isinstance(format, dict) or format.get("type") != "json_schema" or not isinstance(messages, list):
        return {}
    named = format.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    end = _end_of_prompt(messages)
    instruction = {"role": "system", "content": describe_schema(schema)}
    return {"response_format": {"type": "json_object"}, "messages": [*messages[:end], instruction, *messages[end:]]}


def _use_json_in_gemini(config: Mapping[str, Any], contents: Any) -> dict[str, Any]:
    names = [name for name in _GEMINI_SCHEMAS if isinstance(config.get(name), dict)]
    part = {"text": mark_text(describe_schema(config[names[0]]))} if names else {}
    if not part or not (changed := _instruct(contents, "parts", part)):
        return {}
    left = {name: value for name, value in config.items() if name not in names}
    return {"generationConfig": left, "contents": changed}


def _instruct(turns: Any, member: str, part: Mapping[str, str]) -> list[Any]:
    """Return ``turns`` with ``part`` at the end of the last one that is not the model's; ``[]`` without such a turn."""
    end = _end_of_prompt(turns) if isinstance(turns, list) else 0
    last = turns[end - 1] if end else None
    content = last.get(member) if isinstance(last, dict) else None
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        return []
    return [*turns[: end - 1], {**turns[end - 1], member: [*parts, part]}, *turns[end:]]


def _end_of_prompt(turns: list[Any]) -> int:
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in turns]
    return end_of_prompt(["assistant" if role == "model" else role for role in roles])


CONFIGS: Final[Mapping[str, str]] = {"output_config": "format", "outputConfig": "textFormat"}
"""The members with the schema of a Messages or Converse answer."""

FORMAT_WORDS: Final = Words(
    r"output_config(?:\.format)?: Extra inputs are not permitted",
    r"(?:The model returned the following errors: )?output_config\.format: Extra inputs are not permitted",
)


def describe_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a Messages or Converse ``body``: no schema, and an instruction with it in the last
    message that is not the model's. Return ``{}`` for a body without a schema."""
    name = next((name for name in CONFIGS if isinstance(answer_schema(body, name), dict)), None)
    if name is None:
        return {}
    text = {"text": mark_text(describe_schema(answer_schema(body, name)))}
    part = text if name == "outputConfig" else {"type": "text", **text}
    if not (changed := _instruct(body.get("messages"), "content", part)):
        return {}
    return omit((name, CONFIGS[name]))(body) | {"messages": changed}


# of models that do not reason (NousResearch/hermes-agent#24234)
NOT_ENCRYPTED: Final = Words.of(r"Encrypted content is not supported with this model")


def omit_encrypted(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed ``include`` of a Responses ``body``, without encrypted reasoning; ``{}`` without it."""
    changed = change_list(body, "include", lambda items: [one for one in items if one != "reasoning.encrypted_content"])
    return {name: items or None for name, items in changed.items()}


USER_WORDS: Final = Words.of(
    r"Invalid '(?:metadata\.)?user_id': string does not match pattern",
    after=r"(?:\. Expected a string that matches the pattern '[^'\n]{1,100}')?\.?",
)


def hash_id(id: Any) -> Any:
    """Return an end user's ``id`` as a hexadecimal digest, unless it has only letters and digits."""
    if not isinstance(id, str) or id.isalnum():
        return id
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()
