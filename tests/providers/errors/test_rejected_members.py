"""The words in which Chat servers reject members that they do not know.

The gateway sends the request again without the member. If the words name nothing else, it remembers the member.
"""

import json
from typing import Any

from providers.apis import CODECS
from providers.errors.member_paths import Path, remove_path
from providers.errors.rejected import find_rejected, find_sole_rejected, may_omit
from tests.support.each_row import each_row

FORBIDDEN = "Extra inputs are not permitted"


def fastapi(*places: tuple[str | int, ...]) -> list[dict[str, Any]]:
    return [{"type": "extra_forbidden", "loc": ["body", *place], "msg": FORBIDDEN, "input": 1} for place in places]


REASONING: Path = ("messages", "[]", "assistant", "reasoning_content")
ROWS: list[tuple[str, Any, tuple[Path, ...], bool]] = [
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


def read_error(error: Any):
    body = error if isinstance(error, dict) and "detail" in error else {"error": error}
    return CODECS["chat"].read_error(400, json.dumps(body).encode(), ())


@each_row(("server", "error", "paths", "is_alone"), ROWS)
def test_the_words_of_a_server_are_known(server, error, paths, is_alone):
    read = read_error(error)
    assert find_rejected(read) == paths, read.message
    assert find_sole_rejected(read) == (paths if is_alone else ())


@each_row(
    "message",
    [
        "Unsupported value: 'effort' does not support 'minimal' with this model. Supported values are: 'low'.",
        "Model grok-4 does not support images.",
        "body -> messages -> 0 -> content\n  Field required (type=missing)",
        "[{'type': 'missing', 'loc': ('body', 'top_k'), 'msg': 'Field required', 'input': {}}]",
    ],
)
def test_other_rejections_name_no_member(message):
    assert find_rejected(read_error({"message": message})) == ()


def test_names_of_participants_can_be_omitted_but_not_those_of_tools():
    body = {
        "messages": [{"role": "user", "name": "Ada", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    assert remove_path(body, ("messages", "[]", "user", "name"))[1] == {"messages[].name"}
    assert may_omit("messages[].name", body)
    assert may_omit("input[].metadata", {"input": []})  # openai/codex#29469
    assert may_omit("toolConfig.toolChoice", {"toolConfig": {}})
    assert not may_omit("toolConfig.tools", {"toolConfig": {}})
    assert not may_omit("tools[].function.name", body)
