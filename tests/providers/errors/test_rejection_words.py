"""The words in which servers reject members and shapes of requests.

``tests/gateway/exchange/test_recoveries.py`` sends such requests, in the words that are missing here. The gateway sends
a request again without the rejected part. If the words name nothing else, it remembers the part.
"""

import itertools
import json
from typing import Any

from providers.apis import CODECS
from providers.errors.failures import read_failure
from providers.errors.member_paths import BETA, TOOL_NAMES, WHOLE, WHOLE_WITH_TOOLS, Path
from providers.errors.other_shapes import EFFORT_LEVELS, OUTPUT_LIMIT
from providers.errors.rejected import find_rejected, find_sole_rejected
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


AT_AMAZON = (
    "Value 'mcp__server__x' at 'toolConfig.tools.32.member.toolSpec.name' failed to satisfy constraint: Member must "
    "have length less than or equal to 64"
)


WORDS: dict[tuple[str, ...], list[str]] = {
    (":thinking", "thinking"): [
        "deepseek-reasoner does not support this tool_choice",  # deepseek-ai/awesome-deepseek-integration#606
    ],
    (":thinking", "unsupported"): [
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
    (":thinking", "effort"): [
        "This model does not support the effort parameter.",  # Oaklight/llm-rosetta#289
    ],
    LIMIT: [
        # stackblitz-labs/bolt.diy#955, aaif-goose/goose#11364
        "Unable to submit request because it has a maxOutputTokens value of 655360 but the supported range is from 1 "
        "(inclusive) to 8193 (exclusive). Update the value and try again.",
        "max_tokens is too large: 32000. This model supports at most 8192 completion tokens, whereas you provided "
        "32000.",
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
        # anthropics/claude-code#63469
        "messages[1].role must be either 'user' or 'assistant', but got 'system'",
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as '
        "an input message role.",
    ],
    (":schema",): [
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
        # ghostlobster/memorize-everything#93
        "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported",
        # experientiallabs/experiential#804
        "tools.0.custom: For 'array' type, property 'maxItems' is not supported",
        "output_format.schema: Schema type 'oneOf' is not supported",  # vercel/ai#12876
        f"{BEDROCK}{NO_LIMIT}",
    ],
    (":tools", "incomplete"): [
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
        # anthropics/claude-code#5319
        "tools.106.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    ],
    (":tools", "patterns"): [
        r"""Invalid schema for function 'Artifact': '^(?!__.*__$)[^\p{Cc}"\\./[\]]{1,9}$' is not a 'regex'.""",
        "Invalid JSON schema: regex lookaround is not supported.",  # diegosouzapw/OmniRoute#7100
    ],
    (":reasoning",): [
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
    (":turns", "last"): [
        f"{BEDROCK}{PREFILL}",  # anomalyco/opencode#29760
        "Assistant response prefill is incompatible with enable_thinking.",  # ggml-org/llama.cpp#20861
        # crewAIInc/crewAI#2194
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    ],
    (":items", "agents"): [
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
    (":images", "types"): [
        "messages.83.content.0.tool_result.content.1.image.source.base64: The image was specified using the image/jpeg "
        "media type, but the image appears to be a image/png image",
        f"{BEDROCK}messages.18.content.1.image.source.base64.data: Image does not match the provided media type "
        "image/png",
        "messages.36.content.2.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' "
        "or 'image/webp'",
        f"{BEDROCK}The provided image does not match the specified image format.",
        "1 validation error detected: Value at 'messages.1.member.content.2.member.image.format' failed to satisfy "
        "constraint: Member must satisfy enum value set: [gif, jpeg, png, webp]",
        "Unsupported MIME type: image/jpg",
    ],
    TOOL_NAMES: [
        "Invalid 'tools[5].name': string too long. Expected a string with maximum length 64, but got a string with "
        "length 72 instead.",
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern "
        "'^[a-zA-Z0-9_-]+$'.",
        "Invalid 'messages[9].tool_calls[0].function.name': string too long. Expected a string with maximum length 64, "
        "but got a string with length 72 instead.",
        "tools.18.custom.name: String should have at most 128 characters",
        "tools.7.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        "messages.3.content.0.tool_result.content.1.tool_reference.tool_name: String should have at most 64 characters",
        "messages.403.content.0.tool_use.name: String should have at most 200 characters",
        f"1 validation error detected: {AT_AMAZON}",
        f"2 validation errors detected: {AT_AMAZON}; {AT_AMAZON}",
        "* GenerateContentRequest.tools[0].function_declarations[69].name: Invalid function name. Must start with a "
        "letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.) or dashes (-), with a "
        "maximum length of 64.\n",
        "<400> InternalError.Algo.InvalidParameter: The length of the tool name cannot exceed 64.",
        "``name`` must be at most 64 characters, got 68",
        # decolua/9router#2840, Alishahryar1/free-claude-code#1307, openmake/openmake_llm#769
        "Function name was mcp__server__x but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum "
        "length of 64.",
        "Validation: Function name at index 51 exceeds 96 character limit",
        "Function at index 1 has an invalid name",
    ],
    (":texts", "blank"): [
        # OpenHands/OpenHands#5722
        "The text field in the ContentBlock object at messages.3.content.0 is blank. Add text to the text field, and "
        "try again.",
        # strands-agents/tools#190
        "The content field in the Message object at messages.23 is empty. Add a ContentBlock object to the content "
        "field and try again.",
        # aws-samples/sample-multi-agent-orchestration-chat-on-agentcore#15
        "The content field at messages.2.content.0.toolResult cannot be empty when status value is error.",
        # NousResearch/hermes-agent#63983
        f"{BEDROCK}messages: text content blocks must contain non-whitespace text",
    ],
    # langchain-ai/langchain-aws#141, quarkiverse/quarkus-langchain4j#1983
    (":calls", "turns"): [
        "messages.7.content: Conversation blocks and tool use blocks cannot be provided in the same turn."
    ],
    (":calls", "results"): [
        "Please ensure that the number of function response parts is equal to the number of function call parts of the "
        "function call turn."
    ],
    (":calls", "signatures"): [  # NousResearch/hermes-agent#14488
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
        "correctly, and missing thought_signature may lead to degraded model performance. Additional data, function "
        "call `default_api:skill_view` , position 5. Please refer to https://ai.google.dev/gemini-api/docs/"
        "thought-signatures for more details."
    ],
    # vLLM (`TestDetectMergeInlineSystem`), llama.cpp (ggml-org/llama.cpp#27367, SillyTavern/SillyTavern#5276), Ollama
    # (ollama/ollama#17774) and Rapid-MLX (raullenchai/Rapid-MLX#1543)
    (":system",): [
        "system message must be at the beginning",
        "Chat template error: System message must be at the beginning.",
        at_llama_cpp("System message must be at the beginning."),
        "Unable to generate parser for this template. Automatic parser generation failed: "
        + at_llama_cpp("System message must be at the beginning."),
    ],
}
ROLE = {"type": "literal_error", "loc": ["body", "messages", 1, "role"], "msg": "Input should be 'user' or 'assistant'"}
QUOTING = [
    ((":system",), 'messages[3]: "System message must be at the beginning." is not allowed'),
    ((":levels", "low,high"), "messages[3]: \"output_config.effort: Input should be 'low' or 'high'\" is not allowed"),
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
    ("shape", "status"),
    itertools.product([(":system",), (":turns", "alternate"), (":calls", "ids"), (":turns", "last")], [404, 500]),
)
def test_a_local_servers_failures_are_of_the_request(shape, status):
    """ggml-org/llama.cpp#19851, ggml-org/llama.cpp#14349, sipeed/picoclaw#207, 0xSero/minimax-m2-proxy#12,
    ml-explore/mlx-lm#1375"""
    for message in WORDS[shape]:
        error = read_failure(status, json.dumps({"error": {"code": status, "message": message, "type": "x"}}).encode())
        assert (error.kind, error.status) == ("invalid_request", 400)
        assert find_sole_rejected(error) == (shape,)


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
        "Unsupported value: 'effort' does not support 'minimal' with this model. Supported values are: 'low'.",
        "Model grok-4 does not support images.",
        "body -> messages -> 0 -> content\n  Field required (type=missing)",
        "[{'type': 'missing', 'loc': ('body', 'top_k'), 'msg': 'Field required', 'input': {}}]",
    ],
)
def test_other_rejections_stay(message):
    assert rejection({"error": {"message": message}}) == ((), ())


def test_other_errors_of_a_server_stay_its_own():
    assert read_failure(500, b'{"error":{"message":"out of memory"}}').kind == "upstream"
    assert read_failure(503, b'{"error":{"message":"System message must be at the beginning."}}').status == 503


LEVELS: list[tuple[str, dict[str, Any], str]] = [
    # BerriAI/litellm#39983
    (
        "Unsupported value: 'reasoning_effort' does not support 'max' with this model. Supported values are: 'none', "
        "'low', 'medium', 'high', and 'xhigh'.",
        {"param": "reasoning_effort", "code": "unsupported_value"},
        "none,low,medium,high,xhigh",
    ),
    # Kilo-Org/cloud#3807
    (
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: "
        "'minimal', 'low', 'medium', and 'high'.",
        {},
        "minimal,low,medium,high",
    ),
    # openai/codex#6647
    (
        "Unsupported value: 'none' is not supported with the 'gpt-5.1-codex' model. Supported values are: 'low', "
        "'medium', and 'high'.",
        {"param": "reasoning.effort", "code": "unsupported_value"},
        "low,medium,high",
    ),
    # router-for-me/CLIProxyAPI#1572
    (
        "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should "
        "be 'low', 'medium' or 'high'\", 'input': 'xhigh', 'ctx': {'expected': \"'low', 'medium' or 'high'\"}}\n\n  "
        'File "/sgl-workspace/sglang/python/sglang/srt/entrypoints/http_server.py", line 1324, in openai_v1_chat_comple'
        "tions\n    POST /v1/chat/completions [{'type': 'literal_error', 'loc': ('body', 'reasoning_effort')}]",
        {},
        "low,medium,high",
    ),
    # vLLM
    (
        "[{'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should be 'low', 'medium' or "
        "'high'\", 'input': 'xhigh', 'ctx': {'expected': \"'low', 'medium' or 'high'\"}}]",
        {},
        "low,medium,high",
    ),
    ("output_config.effort: Input should be 'low', 'medium', 'high' or 'max'", {}, "low,medium,high,max"),
    # xunbu/docutranslate#32
    (
        "Failed to deserialize the JSON body into the target type: reasoning_effort: unknown variant `none`, expected "
        "one of `high`, `low`, `medium`, `max`, `xhigh` at line 1 column 6572",
        {},
        "low,medium,high,xhigh,max",
    ),
    # microsoft/vscode#310826
    (
        'output_config.effort "high" is not supported by model claude-opus-4.7; supported values: [medium]',
        {"code": "invalid_reasoning_effort"},
        "medium",
    ),
    (
        'reasoning_effort "max" is not supported by model gpt-5.4; supported values: [low medium high]',
        {"code": "invalid_reasoning_effort"},
        "low,medium,high",
    ),
    # farion1231/cc-switch#2851
    (
        "The parameter `output_config.effort` specified in the request are not valid: expected `low`, `medium`, `high` "
        "or `max`, but got `xhigh` instead. Request id: 021778996796425d54a2e8b6146550b9b78e5e06cf50b223556ee",
        {},
        "low,medium,high,max",
    ),
    # nguyenphutrong/quotio#287
    ('level "max" not supported, valid levels: low, medium, high, xhigh', {}, "low,medium,high,xhigh"),
]


@each_row(("message", "more", "levels"), LEVELS)
def test_the_levels_of_a_model_are_known_and_remembered(message, more, levels):
    found = rejection({"error": {"message": message, "type": "x", **more}})
    assert found == (((EFFORT_LEVELS, levels),),) * 2


@each_row(
    ("message", "more"),
    [
        # of other members: text.verbosity
        (
            "Unsupported value: 'low' is not supported with the 'gpt-5.1-codex' model. Supported values are: 'medium'.",
            {"param": "text.verbosity"},
        ),
        ("Unsupported value: 'low' is not supported with the 'x' model. Supported values are: 'medium'.", {}),
        ("reasoning_effort must be one of `none` or `default`", {}),
        ("detail: Input should be 'low' or 'high'", {}),
    ],
)
def test_other_rejections_name_no_levels(message, more):
    assert all(path[0] != EFFORT_LEVELS for path in rejection({"error": {"message": message, **more}})[0])


FORBIDDEN = "Extra inputs are not permitted"


def fastapi(*places: tuple[str | int, ...]) -> list[dict[str, Any]]:
    return [{"type": "extra_forbidden", "loc": ["body", *place], "msg": FORBIDDEN, "input": 1} for place in places]


REASONING: Path = ("messages", "[]", "assistant", "reasoning_content")
MEMBERS: list[tuple[str, Any, tuple[Path, ...], bool]] = [
    ("Anthropic", f"speed: {FORBIDDEN}", (("speed",),), True),
    ("Anthropic, a tool", f"tools.0.custom.defer_loading: {FORBIDDEN}", (("tools", "[]", "custom", "defer_loading"),),
     True),
    ("FastAPI", f"body.store: {FORBIDDEN}", (("store",),), True),
    ("Anthropic, a beta", "invalid beta flag", ((BETA,),), True),
    ("Anthropic, betas", "Unexpected value(s) `a-2026-01-05`, `b-2` for the `anthropic-beta` header. Please consult "
     "our documentation at platform.claude.com/docs or try again without the header.",
     ((BETA, "a-2026-01-05"), (BETA, "b-2")), True),
    # vercel/ai#8943, BerriAI/litellm#32273
    ("Gemini, penalties", "Penalty is not enabled for models/gemini-2.5-flash",
     (("frequency_penalty",), ("presence_penalty",), ("generationConfig", "frequencyPenalty"),
      ("generationConfig", "presencePenalty")), True),
    ("Gemini", 'Invalid JSON payload received. Unknown name "store": Cannot find field.', (("store",),), True),
    ("Gemini, a tool", "Unknown name \"strict\" at 'tools[0].function': Cannot find field.",
     (("tools", "[]", "function", "strict"),), True),
    ("OpenAI, reasoning", "Unsupported parameter: 'temperature' is not supported with this model.", (("temperature",),),
     True),
    ("OpenAI, older", "Unrecognized request argument supplied: reasoning_effort", (("reasoning_effort",),), True),
    ("OpenAI, an item", "Unknown parameter: 'input[3].status'.", (("input", "[]", "status"),), True),
    ("Groq", "property 'store' is unsupported, did you mean 'stop'?", (("store",),), True),
    ("Groq, a message", "'messages.0' : property 'cache_control' is unsupported",
     (("messages", "[]", "cache_control"),), True),
    ("Bedrock, a tool", "Malformed input request: #/tools/0: extraneous key [strict] is not permitted, please reformat "
     "your input and try again.", (("tools", "[]", "strict"),), True),
    ("Bedrock", "Malformed input request: #: extraneous key [speed] is not permitted", (("speed",),), True),
    ("Rust", "Failed to deserialize: unknown field `store`, expected one of `model`, `messages`", (("store",),), True),
    ("Rust, a line", "unknown field `top_k`, expected `model` at line 1 column 20", (("top_k",),), True),
    # Fireworks: web-infra-dev/midscene#1322
    ("Fireworks", {"message": f"{FORBIDDEN}, field: 'top_k', value: True."}, (("top_k",),), True),
    ("Fireworks, a client's text", {"message": f"{FORBIDDEN}, field: 'user', value: 'see: x'"}, (("user",),), False),
    # xAI: BerriAI/litellm#16265, open-webui/open-webui#21266
    ("xAI", "Model grok-4.6 does not support parameter presencePenalty.", (("presence_penalty",),), True),
    ("xAI, in two APIs", "Model grok-4-latest does not support parameter reasoningEffort.",
     (("reasoning_effort",), ("reasoning", "effort")), True),
    ("xAI, in other words", {"message": "Argument not supported on this model: stop"}, (("stop",),), True),
    # The-PR-Agent/pr-agent#2456, DayuanJiang/next-ai-draw-io#861
    ("Claude 4.7", {"message": "`temperature` is deprecated for this model."},
     (("temperature",), ("inferenceConfig", "temperature")), True),
    ("Claude at Bedrock", {"message": "The model returned the following errors: temperature is deprecated for this "
                                      "model."}, (("temperature",), ("inferenceConfig", "temperature")), True),
    # strands-agents/harness-sdk#1241, vercel/ai#4396, maximhq/bifrost#3196
    ("Llama at Bedrock", {"message": "This model doesn't support the toolConfig.toolChoice.any field. Remove "
                                     "toolConfig.toolChoice.any and try again."},
     (("toolConfig", "toolChoice"),), False),
    ("a setting at Bedrock", {"message": "This model doesn't support the stopSequences field. Remove stopSequences and "
                                         "try again."}, (("inferenceConfig", "stopSequences"),), True),
    # NVIDIA: MoonshotAI/kimi-cli#2534, Kilo-Org/kilocode#9652
    ("NVIDIA", {"message": "Validation: Unsupported parameter(s): `top_k`"}, (("top_k",),), True),
    ("NVIDIA, two", {"message": "Validation: Unsupported parameter(s): `top_k`, `min_p`"},
     (("top_k",), ("min_p",)), False),
    ("NVIDIA, 422", f"body -> top_k\n  {FORBIDDEN} (type=extra_forbidden)", (("top_k",),), True),
    ("NVIDIA, 422, two", f"body -> top_k\n  {FORBIDDEN} (type=extra_forbidden)\nbody -> min_p\n  {FORBIDDEN}",
     (("top_k",), ("min_p",)), False),
    # Mistral and vLLM: charmbracelet/crush#1590, mistralai/client-ts#65, mistralai/platform-docs-public#7
    ("Mistral", {"detail": fastapi(("messages", 3, "assistant", "reasoning_content"),
                                   ("messages", 5, "assistant", "reasoning_content"))}, (REASONING,), True),
    ("vLLM", {"message": str([{"type": "extra_forbidden", "loc": ("body", "top_k"), "msg": FORBIDDEN, "input": "x"}])},
     (("top_k",),), False),
    ("JSON in a text", {"message": json.dumps({"detail": fastapi(("top_k",))})}, (("top_k",),), False),
    # Azure: microsoft/semantic-kernel#10510
    ("Azure", {"message": f"Validation error at #/top_k: {FORBIDDEN}"}, (("top_k",),), True),
    # Cerebras: Alishahryar1/free-claude-code#1136
    ("Cerebras", {"message": "\n".join(
        f"messages.{number}.assistant.reasoning_content: property 'messages.{number}.assistant.reasoning_content' is "
        "unsupported" for number in (2, 4))}, (REASONING,), True),
    # Kimi: NoFxAiOS/nofx#1415, MoonshotAI/Kimi-K2#141
    ("Kimi", {"message": "invalid temperature: only 1 is allowed for this model"}, (("temperature",),), True),
    ("Kimi, 2", {"message": "invalid thinking: only type=enabled is allowed for this model"}, (("thinking",),), True),
    ("OpenAI", {"message": "Unsupported value: 'temperature' does not support 0.2 with this model. "
                           "Only the default (1) value is supported."}, (("temperature",),), True),
    # gpt-4o-search-preview: vercel/ai#5609, ChatGPTNextWeb/NextChat#6569
    ("OpenAI, search", {"message": "Model incompatible request argument supplied: temperature"}, (("temperature",),),
     True),
    ("OpenAI, two", {"message": "Model incompatible request arguments supplied: temperature, top_p"},
     (("temperature",), ("top_p",)), False),
    # OpenHands/software-agent-sdk#2295, router-for-me/CLIProxyAPIPlus#437
    ("Azure, retention", {"message": "prompt_cache_retention is not supported on this model"},
     (("prompt_cache_retention",),), True),
    ("Copilot, tier", {"message": "service_tier is not supported", "code": "unsupported_value",
                       "param": "service_tier"}, (("service_tier",),), True),
]  # fmt: skip


@each_row(("server", "error", "paths", "is_alone"), MEMBERS)
def test_the_words_about_members_are_known(server, error, paths, is_alone):
    body = error if isinstance(error, dict) and "detail" in error else {"error": error}
    read = CODECS["chat"].read_error(400, json.dumps(body).encode(), ())
    assert find_rejected(read) == paths, read.message
    assert find_sole_rejected(read) == (paths if is_alone else ())
