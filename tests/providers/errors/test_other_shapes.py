"""The words in which servers reject the shape of a request, and the other shapes.

``tests/gateway/exchange/test_recoveries.py`` sends such requests.
"""

import itertools
import json
from typing import Any

from providers.errors.failures import read_failure
from providers.errors.member_paths import WHOLE, WHOLE_WITH_TOOLS
from providers.errors.other_shapes import OUTPUT_LIMIT, find_shape
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.neutral.schemas import describe_limits
from tests.support.each_row import each_row

BEDROCK = "The model returned the following errors: "
DESERIALIZE = "Failed to deserialize the JSON body into the target type: "
GEMINI = "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
NO_LIMIT = "output_config.format.schema: For 'number' type, properties maximum, minimum are not supported"
NO_PROPERTIES = "Invalid schema for function 'mcp__x__list': In context=(), object schema missing properties."
NO_FORMAT = "output_config.format: Extra inputs are not permitted"
NO_CONFIG = "output_config: Extra inputs are not permitted"
NO_STREAM = "Unsupported value: 'stream' does not support true with this model."
LIMIT = (OUTPUT_LIMIT, "8192")
ALTERNATE = (
    "After the optional system message, conversation roles must alternate user and assistant roles except for tool "
    "calls and results."
)
IDS_OF_TEMPLATE = "Tool call IDs should be alphanumeric strings with length 9!"


def at_llama_cpp(sentence: str) -> str:
    """Return what a template's ``sentence`` is in llama.cpp's answer."""
    return (
        "\n------------\nWhile executing CallExpression at line 189, column 32 in source:\n"
        f"...== 0) %}}↵            {{{{- raise_exception('{sentence[:34]}...\n"
        f"                                           ^\nError: Jinja Exception: {sentence}"
    )


def at_minja(sentence: str) -> str:
    """Return what it is in the answers of 2025."""
    return (
        f"{sentence} at row 91, column 40:\n                {{%- if not tool_call.id is defined %}}\n"
        f'                    {{{{- raise_exception("{sentence}") }}}}\n                                       ^\n'
        "                {%- endif %}\n at row 91, column 21:\n                {%- endif %}\n"
    )


WORDS: dict[tuple[str, ...], list[str]] = {
    (":thinking", "thinking"): [
        "Thinking mode does not support this tool_choice",
        "deepseek-reasoner does not support this tool_choice",  # deepseek-ai/awesome-deepseek-integration#606
        "tool_choice 'specified' is incompatible with thinking enabled",
    ],
    (":thinking", "enable_thinking"): [
        "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to required "
        "or object in thinking mode",
    ],
    (":thinking", "unsupported"): [
        '"llama3.1:8b" does not support thinking',
        "Thinking is not enabled for models/gemini-2.0-flash-preview-image-generation",
        "Thinking level is not supported for this model.",  # RooCodeInc/Roo-Code#10700
        "thinking_config is not supported.",
        # googleapis/js-genai#681, google-gemini/gemini-cli#14025 and #1953
        f"Unable to submit request because thinking is not supported by this model. {GEMINI}",
        f"Unable to submit request because thinking_level is not supported by this model.. {GEMINI}",
    ],
    (":thinking", "not adaptive"): [
        "adaptive thinking is not supported on this model",  # agentforce314/clawcodex#699
        # anthropics/claude-code#29531
        "Only 'enabled' and 'disabled' are supported for thinking; 'adaptive' is not supported.",
    ],
    (":thinking", "not disabled"): [
        # ex-machina-co/opencode-anthropic-auth#160
        '"thinking.type.disabled" is not supported for this model. Thinking defaults to adaptive mode when not '
        'specified; use "thinking.type.enabled" with "budget_tokens" for extended thinking.',
    ],
    (":thinking", "levels"): [
        'think value "medium" is not supported for this model',  # ollama/ollama#12561
        "reasoning_effort must be one of none or default",  # earendil-works/pi#1745
    ],
    (":sampling",): [
        # QuantumNous/new-api#5122, skydiscover-ai/skydiscover#15
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    ],
    (":thinking", "effort"): [
        "This model does not support the effort parameter.",  # Oaklight/llm-rosetta#289
        # caozhiyuan/copilot-api#286
        'output_config.effort "high" was provided, but model claude-haiku-4.5 does not support reasoning effort',
    ],
    (":thinking", "disabled"): ["thinking options type cannot be disabled when reasoning_effort is set"],
    (":thinking", "adaptive"): [
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.',
    ],
    LIMIT: [
        # stackblitz-labs/bolt.diy#955, aaif-goose/goose#11364
        "Unable to submit request because it has a maxOutputTokens value of 655360 but the supported range is from 1 "
        "(inclusive) to 8193 (exclusive). Update the value and try again.",
        "max_tokens is too large: 32000. This model supports at most 8192 completion tokens, whereas you provided "
        "32000.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 8192, but got 32000 instead.",
        "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
        "`context_window` for this model",
        "max_tokens should be less or equal to 8192",
        "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022",
        "The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens value that "
        "is lower than 8192.",
        "The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, "
        "expected a value <= 8192, but got 32000 instead. Request id: 0217752964393142fa50af",
    ],
    (":system", "role"): [
        f"{DESERIALIZE}messages[1].role: unknown variant `system`, expected `user` or `assistant` at line 1 column 213",
        # anthropics/claude-code#63469
        "messages[1].role must be either 'user' or 'assistant', but got 'system'",
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as '
        "an input message role.",
    ],
    (":user", "id"): [
        "Invalid 'user_id': string does not match pattern. Expected a string that matches the pattern "
        "'^[a-zA-Z0-9_-]+$'.",
    ],
    (":schema",): [
        "This response_format type is unavailable now",
        f"{DESERIALIZE}response_format: response_format.type `json_schema` is unavailable now at line 1 column 1193",
        "This model does not support response format `json_schema`. See supported models at "
        "https://console.groq.com/docs/structured-outputs#supported-models",
    ],
    (":thinking", "encrypted"): [
        "Encrypted content is not supported with this model."
    ],  # NousResearch/hermes-agent#24234
    WHOLE: [
        # RooCodeInc/Roo-Code#6868
        "Your organization must be verified to stream this model. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just "
        "verified, it can take up to 15 minutes for access to propagate.",
        "The model is unsupported for streaming.",  # aws-samples/amazon-bedrock-client-for-mac#112
    ],
    WHOLE_WITH_TOOLS: ["This model doesn't support tool use in streaming mode."],  # earendil-works/pi#3739
    (":schema", "limits"): [
        # agentjido/req_llm#302
        "output_format.schema: For 'integer' type, property 'minimum' is not supported",
        NO_LIMIT,  # sherifkozman/the-llm-council#55
        # ghostlobster/memorize-everything#93
        "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported",
        # experientiallabs/experiential#804
        "tools.0.custom: For 'array' type, property 'maxItems' is not supported",
        "output_format.schema: Schema type 'oneOf' is not supported",  # vercel/ai#12876
        f"{BEDROCK}{NO_LIMIT}",
    ],
    (":tools", "incomplete"): [
        NO_PROPERTIES,
        # sigoden/aichat#1049
        "Invalid schema for function 'filesystem_read_multiple_files': In context=('properties', 'paths'), array "
        "schema missing items.",
        # farion1231/cc-switch#5490, chatanywhere/GPT_API_free#403
        "Invalid schema for function 'codex_app__automation_update': schema must be a JSON Schema of 'type: "
        "\"object\"', got 'type: null'.",
        "tools.0.custom.input_schema.type: Field required",
        "tools.0.custom.input_schema.type: Input should be 'object'",
        # earendil-works/pi#8279, cognitect-labs/aws-api#272
        "The value at toolConfig.tools.7.toolSpec.inputSchema.json.type must be one of the following: object.",
    ],
    (":tools", "combined"): [
        # langchain-ai/langchainjs#9804
        "Invalid schema for function 'update-event': schema must have type 'object' and not have "
        "'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.",
        # anthropics/claude-code#5319
        "tools.106.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    ],
    (":tools", "patterns"): [
        r"""Invalid schema for function 'Artifact': '^(?!__.*__$)[^\p{Cc}"\\./[\]]{1,9}$' is not a 'regex'.""",
        "Invalid JSON schema: regex lookaround is not supported.",  # diegosouzapw/OmniRoute#7100
    ],
    (":reasoning",): [
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        "Missing `reasoning_content` field in the assistant message at message index 1. For more information, please "
        "refer to https://api-docs.deepseek.com/guides/thinking_mode#tool-calls",
    ],
    (":reasoning", "null"): [
        "Could not decode the compaction blob. Ensure it is unmodified from the compact response."
    ],
    (":calls", "ids"): [
        "Tool call id was toolu_01A09q90qw90lq917835lq9 but must be a-z, A-Z, 0-9, with a length of 9.",
        IDS_OF_TEMPLATE,  # langchain-ai/langchain#29021
        at_minja(IDS_OF_TEMPLATE),  # ggml-org/llama.cpp#14349
        at_llama_cpp(IDS_OF_TEMPLATE),
    ],
    (":turns", "alternate"): [at_llama_cpp(ALTERNATE), at_minja(ALTERNATE)],  # ggml-org/llama.cpp#19851
    (":calls", "order"): ["Unexpected role 'user' after role 'tool'"],
    (":turns", "last"): [
        PREFILL,
        f"{BEDROCK}{PREFILL}",  # anomalyco/opencode#29760
        "Assistant response prefill is incompatible with enable_thinking.",  # ggml-org/llama.cpp#20861
        # crewAIInc/crewAI#2194
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    ],
    (":items", "agents"): [
        f"{DESERIALIZE}input: missing field `call_id` at line 1 column 81274",
        'input[1]: unknown input item type: "agent_message"',
        f"{DESERIALIZE}data did not match any variant of untagged enum ModelInput",
        "Invalid input type 'agent_message' at index 17",
    ],
    (":texts",): [
        # QwenLM/qwen-code#2320, microsoft/PyRIT#704, mozilla-ai/any-llm#1228
        f"{DESERIALIZE}messages[7]: invalid type: sequence, expected a string at line 1 column 22979",
        f"{DESERIALIZE}messages[7].content: invalid type: sequence, expected a string at line 1 column 22979",
        "'messages.0' : for 'role:system' the following must be satisfied[('messages.0.content' : value must be a "
        "string)]",
        "messages.0.system.content.str: Input should be a valid string",
    ],
}
ROLE = {"type": "literal_error", "loc": ["body", "messages", 1, "role"], "msg": "Input should be 'user' or 'assistant'"}
QUOTING = [
    (
        (":system", "role"),
        "[{'type': 'literal_error', 'loc': ('body', 'messages', 1, 'role'), 'msg': \"Input should be 'user' or "
        "'assistant'\", 'input': 'system'}]",
    ),
    ((":tools", "incomplete"), f"The text 'x' is wrong: {NO_PROPERTIES}"),
    (
        (":texts",),
        "2 request validation errors: Input should be a valid string, field: 'messages[0].content.str', value: "
        "[{'type': 'text', 'text': 'You are an AI assistant'}]",
    ),
    (
        (":texts",),
        "[{'type': 'string_type', 'loc': ('body', 'messages', 2, 'ChatCompletionMessageGenericParam', 'content', "
        "'str'), 'msg': 'Input should be a valid string', 'input': []}]",
    ),
]


VALUES = [
    (
        (":thinking", "unsupported"),
        "Budget 0 is invalid. This model only works in thinking mode.",
    ),  # mozilla-ai/any-llm#1294
    (
        (":thinking", "unsupported"),
        "The thinking budget 32768 is invalid. Please choose a value between 512 and 24576.",
    ),
    (
        (":thinking", "unsupported"),
        "Unable to submit request because thinking_budget is out of range; supported values are integers from 1 to "
        "24576.",
    ),
    (
        (":thinking", "unsupported"),
        "Unable to submit request because Thinking_config.include_thoughts is only enabled when thinking is enabled.. "
        f"{GEMINI}",
    ),
    # googleapis/python-genai#660, googleapis/js-genai#882
    (
        (":schema",),
        "The specified schema produces a constraint that has too many states for serving.  Typical causes of this "
        "error are schemas with lots of text (for example, very long property or enum names)",
    ),
    ((":schema",), "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."),
]


def rejection(body: Any) -> tuple[Any, Any]:
    """Return the members that an error body rejects: those of this request, and those to remember."""
    error = read_failure(400, json.dumps(body).encode())
    return find_rejected(error), find_sole_rejected(error)


@each_row(("shape", "message"), [(shape, message) for shape, texts in WORDS.items() for message in texts])
def test_the_words_of_servers_are_known(shape, message):
    assert rejection({"error": {"message": message, "type": "invalid_request_error"}}) == ((shape,), (shape,))


@each_row(
    ("message", "members", "sole"),
    [
        # vectorize-io/hindsight#3300, presenton/presenton#939
        (f"{BEDROCK}{NO_FORMAT}", ((":schema", "answer"), ("output_config", "format")), ((":schema", "answer"),)),
        # Vertex AI (anthropics/anthropic-sdk-csharp#132). The effort may be what it rejects.
        (NO_CONFIG, ((":schema", "answer"), ("output_config",)), (("output_config",),)),
        # animalnots/BetterChatGPT-PLUS#62
        (f"{NO_STREAM} Only the default (false) value is supported.", (WHOLE, ("stream",)), (WHOLE,)),
        (f"{NO_STREAM} Supported values are: false.", (WHOLE,), (WHOLE,)),  # BerriAI/litellm#7693
    ],
)
def test_a_member_that_is_rejected_may_have_another_form(message, members, sole):
    assert rejection({"error": {"message": message}}) == (members, sole)


@each_row(
    ("shape", "body"),
    [
        ((":system", "role"), {"detail": [ROLE]}),  # jundot/omlx#1503
        ((":reasoning", "null"), {"code": "invalid-argument", "error": WORDS[(":reasoning", "null")][0]}),
        ((":calls", "ids"), {"object": "error", "message": WORDS[(":calls", "ids")][0]}),
    ],
)
def test_their_words_are_found_in_other_bodies(shape, body):
    assert rejection(body) == ((shape,), (shape,))


@each_row(
    ("shape", "status"), itertools.product([(":turns", "alternate"), (":calls", "ids"), (":turns", "last")], [404, 500])
)
def test_a_local_servers_failures_are_of_the_request(shape, status):
    """ggml-org/llama.cpp#19851, ggml-org/llama.cpp#14349, sipeed/picoclaw#207, 0xSero/minimax-m2-proxy#12,
    ml-explore/mlx-lm#1375"""
    for message in WORDS[shape]:
        error = read_failure(status, json.dumps({"error": {"code": status, "message": message, "type": "x"}}).encode())
        assert (error.kind, error.status) == ("invalid_request", 400)


@each_row(("shape", "message"), VALUES)
def test_a_rejected_value_teaches_nothing_about_others(shape, message):
    assert rejection({"error": {"message": message}}) == ((shape,), ())


@each_row(("shape", "message"), QUOTING)
def test_a_client_quoted_in_a_rejection_teaches_nothing(shape, message):
    assert rejection({"error": {"message": message}}) == ((shape,), ())


@each_row(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 64001 "
        "tokens and your request has 24235 input tokens (64000 > 64001 - 24235). None",
        "max_tokens must be at least 1, got -4.",
        "max_tokens must be less than or equal to 0",
        f"{DESERIALIZE}stop: invalid type: sequence, expected a string",
        "tools.0.function.name: Input should be a valid string",
    ],
)
def test_other_rejections_stay(message):
    assert rejection({"error": {"message": message}}) == ((), ())


USER = {"role": "user", "content": "hi"}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}
ANSWER_CONFIG = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
BOUNDED = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}}
KEPT = {
    "type": "array", "minItems": 1, "items": {"type": "string", "format": "email", "pattern": "^a+$", "title": "t"},
    "enum": [{"minimum": 1}], "default": {"maximum": 1},
}  # fmt: skip
TYPELESS = {"oneOf": [{"type": "object", "properties": {}}]}


def spec(schema: Any) -> dict[str, Any]:
    return {"toolSpec": {"name": "f", "inputSchema": {"json": schema}}}


OTHER_TOOLS: list[Any] = [
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
    {"tools": [{"type": "web_search"}, "x", {"type": "function", "function": {"name": "f", "parameters": "x"}}]},
    {"tools": "x"},
    {"toolConfig": "x"},
    {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": "x"}}, {"toolSpec": "x"}, "x"]}},
]
OTHER_TURNS: list[Any] = [
    {"messages": [{"role": "tool", "tool_call_id": "a1B2c3D4e", "content": "3"},
                  {"role": "assistant", "content": "3"}, "x"]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "a1B2c3D4e"}, {"id": None}, "x"]}]},
    {"messages": "hi"}, {"messages": None},
]  # fmt: skip
CALLED, ANSWERED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {
    "type": "function_call_output", "call_id": "c", "name": "f", "output": "3",
}  # fmt: skip
SEALED_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AY89a18I"}
OTHERS: list[tuple[tuple[str, ...], list[Any]]] = [
    ((":thinking", "thinking"), [{"tool_choice": "required", "thinking": {"type": "disabled"}}, {"tool_choice": "auto"},
                {"tool_choice": {"type": "auto"}}, {"tool_choice": None}, {"tool_choice": {}}]),
    *((shape, [{"messages": [USER]}, {"generationConfig": "x", "output_config": {"format": {}}}])
      for shape in itertools.product([":thinking"], ["unsupported", "effort", "adaptive", "disabled"])),
    ((":thinking", "not adaptive"), [{"thinking": {"type": "enabled"}, "output_config": {"effort": "high"}},
                                     {"thinking": "x"}]),
    ((":thinking", "not disabled"), [{"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
                                     {"thinking": "x"}]),
    ((":thinking", "levels"), [{"reasoning_effort": "none"}, {"thinking": "x"}]),
    ((":sampling",), [{"temperature": 1}, {"top_p": 1}, {"temperature": 1, "top_p": None},
                          {"inferenceConfig": {"topP": 1}}]),
    ((OUTPUT_LIMIT, "10"), [
        {"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 10}},
        {"max_tokens": "11", "max_output_tokens": None, "generationConfig": []}, {"max_tokens": 10},
    ]),
    ((":user", "id"), [{"metadata": metadata} for metadata in ({"user_id": "a1"}, {"user_id": 7}, {}, "x", None)]),
    ((":system", "role"), [{"messages": messages} for messages in ([USER, "x", {"role": ["system"]}], "hi", None)]),
    ((":schema",), [
        {"messages": [USER], "response_format": {"type": "json_object"}},
        {"messages": [USER], "response_format": "json_schema"}, {"messages": "hi", "response_format": FORMAT},
        {"messages": [USER]},
    ]),
    ((":schema",), [
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 1}},
        *({"contents": contents, "generationConfig": {"responseSchema": {"type": "object"}}} for contents in (
            None, [], ["x"], [{"role": "user"}], [{"role": "model", "parts": [{"text": "hi"}]}],
        )),
    ]),
    ((":schema", "answer"), [
        {"messages": [USER], "output_config": {"effort": "low"}}, {"messages": "hi", "output_config": ANSWER_CONFIG},
        {"messages": [USER], "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
        *({"messages": messages, "output_config": ANSWER_CONFIG} for messages in (
            [], ["x"], [{"role": "user"}], [{"role": "assistant", "content": "a"}],
        )),
        {"output_config": ANSWER_CONFIG},
    ]),
    ((":thinking", "encrypted"), [{"include": ["message.output_text.logprobs"]}, {"include": None}, {"include": "x"}]),
    (WHOLE, [{"stream": False, "stream_options": {}}, {"stream": None}]),
    (WHOLE_WITH_TOOLS, [{"stream": True}, {"stream": True, "tools": []}, {"tools": [{}]}]),
    ((":schema", "limits"), [
        {"tools": [{"name": "f", "input_schema": BOUNDED}, {"name": "f", "input_schema": BOUNDED, "strict": False},
                   "x"]},
        {"output_config": {"format": {"type": "json_schema", "schema": KEPT}, "effort": "high"}},
        {"output_format": {"type": "json_schema", "schema": True}},
        {"outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
        {"output_config": "x", "output_format": None, "tools": None, "toolConfig": {"tools": 1}, "text": {"format": 1}},
        {"response_format": {"type": "json_schema", "json_schema": "x"}, "minimum": 1},
    ]),
    *((shape, OTHER_TOOLS) for shape in ((":tools", "incomplete"), (":tools", "combined"), (":tools", "patterns"))),
    ((":reasoning",), [
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, {"role": "user"}, None]},
        {"messages": "a"},
    ]),
    ((":reasoning", "null"), [{"input": items} for items in ([SEALED_THOUGHT, {**ITEM, "id": None}, "x"], "hi", None)]),
    *((shape, OTHER_TURNS) for shape in ((":calls", "ids"), (":calls", "order"))),
    ((":turns", "last"), [
        {"messages": [USER]}, {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"toolUse": {"toolUseId": "1"}}]}]},
        {"input": [{"type": "function_call"}]}, {"input": "hi"}, {"messages": []},
    ]),
    ((":items", "agents"), [
        {"input": [CALLED, ANSWERED, ITEM, "x", {"type": "function_call_output", "output": "3"}]}, {"input": "hi"},
        {"input": None},
    ]),
]  # fmt: skip


@each_row(("path", "bodies"), OTHERS)
def test_other_bodies_stay(path, bodies):
    shape = find_shape(path)
    assert shape is not None
    assert [shape.change(body) for body in (*bodies, {})] == [{}] * (len(bodies) + 1)


NESTED = {"properties": {"a": {"type": ["array", "null"]}, "b": {"anyOf": [{"type": "object"}, {"type": "array"}]}}}
COMPLETE = {
    "type": "object",
    "properties": {
        "a": {"type": ["array", "null"], "items": {}},
        "b": {"anyOf": [{"type": "object", "properties": {}}, {"type": "array", "items": {}}]},
    },
}
FUNCTION = {"type": "function", "name": "f"}


@each_row(
    ("path", "body", "changed"),
    [
        ((":thinking", "thinking"), {"tool_choice": "required"}, {"thinking": {"type": "disabled"}}),
        ((":thinking", "enable_thinking"), {"tool_choice": {"type": "any"}, "reasoning_effort": "low"},
         {"enable_thinking": False, "reasoning_effort": None}),
        ((":thinking", "unsupported"),
         {"generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}, "temperature": 1}},
         {"generationConfig": {"temperature": 1}}),
        ((":thinking", "effort"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "format": {}}},
         {"output_config": {"format": {}}}),
        ((":thinking", "adaptive"), {"thinking": {"type": "enabled", "budget_tokens": 9, "display": "summarized"}},
         {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ((":thinking", "levels"), {"reasoning": {"effort": "high"}}, {"reasoning": None}),
        ((":thinking", "not adaptive"), {"reasoning_effort": "high"}, {"reasoning_effort": None}),
        ((":thinking", "not disabled"), {"reasoning_effort": "none"}, {"reasoning_effort": None}),
        ((":thinking", "encrypted"), {"include": ["reasoning.encrypted_content"]}, {"include": None}),
        ((":thinking", "encrypted"), {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
         {"include": ["message.output_text.logprobs"]}),
        ((OUTPUT_LIMIT, "10"), {"max_tokens": 9, "max_completion_tokens": 11}, {"max_completion_tokens": 10}),
        ((OUTPUT_LIMIT, "10"), {"inferenceConfig": {"maxTokens": 11, "topP": 1}},
         {"inferenceConfig": {"maxTokens": 10, "topP": 1}}),
        ((OUTPUT_LIMIT, "10"), {"generationConfig": {"maxOutputTokens": 11}},
         {"generationConfig": {"maxOutputTokens": 10}}),
        ((OUTPUT_LIMIT, "10"), {"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 9}},
         {"max_tokens": 10}),
        ((":tools", "incomplete"), {"tools": [{"type": "namespace", "tools": [{**FUNCTION, "parameters": NESTED}]}]},
         {"tools": [{"type": "namespace", "tools": [{**FUNCTION, "parameters": COMPLETE}]}]}),
        ((":tools", "incomplete"),
         {"toolConfig": {"tools": [spec(TYPELESS), {"cachePoint": {}}], "toolChoice": {"any": {}}}},
         {"toolConfig": {"tools": [spec({"type": "object", "properties": {}, **TYPELESS}), {"cachePoint": {}}],
                         "toolChoice": {"any": {}}}}),
        ((":items", "agents"),  # text that only OpenAI can read
         {"input": [{"type": "agent_message",
                     "content": [{"type": "encrypted_content", "encrypted_content": "gAAAAABq_-x=="}]}]},
         {"input": [{**ITEM, "content": [{"type": "input_text", "text": "(no text)"}]}]}),
    ],
)  # fmt: skip
def test_only_the_rejected_part_changes(path, body, changed):
    shape = find_shape(path)
    assert shape is not None
    assert shape.change(body) == changed


def test_the_instruction_precedes_the_beginning_of_an_answer():
    begun = [USER, {"role": "assistant", "content": "{"}]
    shape = find_shape((":schema",))
    assert shape is not None
    changed = shape.change({"messages": begun, "response_format": {"type": "json_schema", "json_schema": None}})
    assert [message["role"] for message in changed["messages"]] == ["user", "system", "assistant"]


@each_row(
    "schema", [{"format": ["x"]}, {"pattern": 3}, {"minItems": {}}, {"maximum": None}, {"oneOf": 1}, [], "x", None]
)
def test_schemas_that_are_invalid_do_no_harm(schema):
    describe_limits(schema)
