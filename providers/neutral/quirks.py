"""Differences of a provider from its API, as data.

Each is a field here and a value in the provider's row (``providers/catalog/rows``), never a branch on its name.
Provider entries of the configuration can set them all.
"""

from typing import Annotated, Final, Literal, TypeAlias

import attrs

from configfile.keys import setting
from configfile.kinds import text_matching

Ability: TypeAlias = Literal["images", "pdf", "tools", "choices", "structured_output"]
"""Abilities that requests can need: seeing images, reading PDFs, calling tools, several choices (``n`` above 1),
following a JSON Schema."""

Skill: TypeAlias = Literal["images", "pdf", "audio", "video", "tools", "structured_output", "reasoning"]
"""Abilities in lists of models."""

_STEP: Final = r"[\w-]+(?:\[\])?"
MemberPath: TypeAlias = Annotated[
    str, text_matching(rf"{_STEP}(?:\.{_STEP})*", "the path of a member, such as store or tools[].strict")
]
"""The path of a member in a body; ``[]`` is every item of an array."""

VersionText: TypeAlias = Annotated[str, text_matching(r"[!-~]{1,100}", "a version such as 2023-06-01")]
"""A version in a header."""


@attrs.frozen(repr=False, cache_hash=True)  # tables have it as a key
class Quirks:
    """A provider's differences; the defaults are the behaviour of OpenAI and Anthropic."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = setting(
        "Chat: the name of the token limit.",
        "max_completion_tokens",
        shown="`max_completion_tokens`; `max_tokens` for all but OpenAI",
    )
    """Most OpenAI-compatible servers know only ``max_tokens``."""

    takes_max_tokens: bool = setting(
        "Chat: the older name `max_tokens` works too.",
        True,
        shown="depends on the model",
    )
    """OpenAI's reasoning models refuse it (continuedev/continue#7052)."""

    default_max_tokens: int = setting(
        "Messages: the `max_tokens` of requests without one.",
        8192,
        shown="depends on the model, else `8192`",
    )

    developer_role: bool = setting(
        "Chat: the role `developer` works. Otherwise `system` is sent.",
        True,
        shown="`true`; `false` for all but OpenAI",
    )

    text_lists: bool = setting(
        "Chat: the texts of a message may be a list. Otherwise translations send one text.",
        True,
        shown="`true`; `false` for all but OpenAI",
    )
    """DeepSeek, Groq and Fireworks reject lists (QwenLM/qwen-code#2320, microsoft/PyRIT#704,
    mozilla-ai/any-llm#1228)."""

    original_images: bool = setting(
        "Chat: the `detail` of an image may be `original`. Otherwise translations send `high`.",
        True,
        shown="`true`; `false` for all but OpenAI",
    )
    """Ark, StepFun and vLLM reject it (farion1231/cc-switch#7555, farion1231/cc-switch#6569)."""

    asked_in_responses: Literal["by_responses_clients", "to_keep_reasoning", "with_tools", "always"] = setting(
        "The requests that go to Responses, if available. `with_tools`: those of Responses clients, translated ones, "
        "and Chat requests with tools while the model thinks. `to_keep_reasoning`: the same, at the maker's address "
        "only.",
        "by_responses_clients",
        shown="depends on the model",
    )
    """In Chat, newer models of OpenAI refuse tools with reasoning, and older ones forget reasoning between calls."""

    stream_usage: bool = setting("Chat: `stream_options` works. Otherwise the usage may stay unknown.", True)

    reasoning_effort: bool = setting("Chat: `reasoning_effort` works.", True)

    efforts: tuple[str, ...] = setting(
        "The accepted effort levels. Others are lowered to the next one.",
        (),
        shown="depends on the model",
    )
    """Empty if unknown; then any level is sent."""

    reasoning_field: Literal["reasoning_content", "reasoning"] = setting(
        "Chat: the member in which the provider gets its reasoning back.", "reasoning_content"
    )

    message_images: bool = setting(
        "Chat: the server accepts the `images` of earlier answers. Otherwise translations drop them.",
        False,
        shown="`false`; `true` for OpenRouter",
    )
    """See https://openrouter.ai/docs/features/multimodal/image-generation"""

    fetches_links: bool = setting(
        "Chat, Messages and Responses: the provider downloads the images and documents of URLs. Otherwise "
        "`images: {inline: true}` sends their [contents](linked-files.md).",
        True,
        shown="`true`; `false` for Google and Bedrock",
    )
    """See songquanpeng/one-api#2245."""

    web_search: Literal["none", "tool", "options", "openrouter", "always"] = setting(
        "The web search of the provider's own. `tool`: a tool of Messages, Responses, Gemini or Interactions. "
        "`options`: Chat's `web_search_options`. `openrouter`: OpenRouter's server tool. `always`: the model always "
        "searches.",
        "none",
        shown="depends on the provider",
    )

    reasoning_replay: Literal["own", "every_message"] = setting(
        "Chat: send the reasoning field only with messages that have reasoning, or with every later assistant message.",
        "own",
    )

    adaptive_thinking: bool = setting(
        "Messages: `true` if thinking is `adaptive` with an effort, `false` if it is `enabled` with a token budget.",
        False,
        shown="depends on the model",
    )
    """True for Claude 4.6 and later, with the effort in ``output_config.effort``."""

    thinking_off: Literal["disabled", "between_tools", "lowest_effort"] = setting(
        "Messages: the way to turn thinking off. `lowest_effort` is for models that always think.",
        "disabled",
        shown="depends on the model",
    )

    forced_tools: bool = setting(
        "Messages: `tool_choice` may force a tool. Otherwise `auto` is sent.",
        True,
        shown="depends on the model",
    )

    short_call_ids: bool = setting(
        "Chat and Responses: shorten ids of tool calls over 64 characters.",
        True,
        shown="`true`; `false` for all but OpenAI and Azure",
    )
    """See openclaw/openclaw#875."""

    short_tool_names: bool = setting(
        "Always shorten tool names over 64 characters, and restore them in answers. Otherwise only in translations and "
        "after a refusal.",
        False,
        shown="depends on the provider",
    )
    """See openai/codex#46188."""

    structured_output: bool = setting(
        "Messages: `output_config.format` works. Otherwise the prompt describes the schema.", True
    )

    sampling: Literal["free", "unless_thinking", "only_effort_none", "never"] = setting(
        "The condition for `temperature`, `top_p` and `top_k`.",
        "free",
        shown="depends on the model",
    )
    """This includes Chat's penalties."""

    one_of_temperature_top_p: bool = setting(
        "`temperature` and `top_p` do not work together: drop `top_p`.",
        False,
        shown="depends on the model",
    )

    cache_breakpoints: bool = setting(
        "Chat and Responses: `prompt_cache_breakpoint` works.", False, shown="depends on the model"
    )
    """True for GPT-5.6 and later."""

    bedrock_family: Literal[
        "claude", "claude3", "nova", "nova2", "mistral", "openai", "qwen", "zai", "minimax", "other"
    ] = setting(
        "Converse: the model's family, which decides reasoning, forced tools and prompt caching. Needed for inference "
        "profiles without it.",
        "other",
        shown="depends on the model, else `other`",
    )
    """See ``providers/converse/families.py``."""

    anthropic_version: VersionText = setting("Messages: the `anthropic-version` of translated requests.", "2023-06-01")
    """A Messages client's own header passes unchanged."""

    billing_line: bool = setting(
        "Messages: send Claude Code's billing line, which changes with every request and so breaks other providers' "
        "prompt caches.",
        True,
        shown="`true`; `false` for all but Anthropic",
    )
    """See anthropics/claude-code#68900."""

    deferred_tools: Literal["native", "found", "all"] = setting(
        "Tools with `defer_loading`. `native`: the server searches them. `found`: send those that the client's search "
        "has found. `all`: send all.",
        "native",
        shown="`native`; `found` for all but OpenAI and Anthropic",
    )
    """For translated requests, ``native`` means ``found``."""

    tool_changes: bool = setting(
        "Messages: messages can add and remove tools, where `deferred_tools` is `native`. Otherwise translations send "
        "the tools that remain at the end.",
        False,
        shown="depends on the model",
    )
    """The same tools in each request keep the provider's prompt cache."""

    refused_fields: tuple[MemberPath, ...] = setting(
        "Members to drop, such as `store` or `tools[].strict`.",
        (),
        shown="depends on the provider",
    )

    moderation: bool = setting(
        "Chat and Responses: `moderation` works. Otherwise a policy `block` gets 400.",
        True,
        shown="`true`; `false` for known servers other than OpenAI",
    )

    unavailable_statuses: tuple[int, ...] = setting(
        "More statuses that mean overload, such as `[403, 422]`. A route then continues, and the client gets 503.",
        (),
        shown="only 503 and 529",
    )
    """See api7/aisix#752."""

    refused_betas: tuple[str, ...] = setting(
        "Messages: values of `anthropic-beta` to drop, as shell patterns.",
        (),
        shown="depends on the provider",
    )

    counts_cached: bool = setting(
        "Tokens read from a cache count in the provider's limits and the entry's `ratelimits`.",
        False,
        shown="`false`; `true` for OpenAI and Azure OpenAI",
    )
    """Anthropic, Bedrock and Groq do not count them."""

    context_window: int | None = setting(
        "The context window in tokens. Routes skip a target if the prompt certainly exceeds it. See "
        "[models](models.md#facts).",
        None,
        shown="depends on the model",
    )
    """Unknown, no prompt counts as too long."""

    max_output: int | None = setting(
        "The longest answer in tokens, for lists of models and `reserve: max`.",
        None,
        shown="depends on the model",
    )
    """Unknown, no answer counts as too long."""

    can: tuple[Skill, ...] = setting(
        "The abilities in lists of models: `images`, `pdf`, `audio`, `video`, `tools`, `structured_output`, "
        "`reasoning`.",
        (),
        shown="depends on the model",
    )
    """Abilities in neither list are unknown."""

    cannot: tuple[Ability, ...] = setting(
        "The abilities that the model lacks: `images`, `pdf`, `tools`, `choices` (`n` above 1), `structured_output`. "
        "Routes prefer targets that have them; images that no target sees get 400. `[]`: none.",
        (),
        shown="depends on the model",
    )
    """Abilities outside the list are tried."""

    thinking_control: Literal["level", "budget", "none"] = setting(
        "Gemini: the way to set the amount of thinking.",
        "level",
        shown="depends on the model",
    )
    """Models before 3 accept tokens, those before 2.5 nothing."""

    thinking_levels: tuple[str, ...] = setting(
        "Gemini: the model's thinking levels.",
        ("minimal", "low", "medium", "high"),
        shown="depends on the model",
    )

    thinking_budgets: tuple[int, int] = setting(
        "Gemini: the smallest and largest thinking budget in tokens, such as `[128, 32768]`.",
        (1, 24_576),
        shown="depends on the model",
    )

    signed_calls: bool = setting(
        "Gemini: the model refuses earlier tool calls and images without a thought signature. The gateway adds "
        "Google's placeholder.",
        False,
        shown="depends on the model",
    )

    mixed_tools: bool = setting(
        "Gemini: functions work together with Google's tools or a response schema. Otherwise Google's tools are "
        "dropped, and the prompt describes the schema.",
        True,
        shown="depends on the model",
    )

    server_tool_invocations: bool = setting("Gemini: `includeServerSideToolInvocations` works.", True)

    media_in_results: bool = setting(
        "Gemini: a tool result may contain images and files. Otherwise they follow after all results.",
        True,
        shown="depends on the model",
    )

    schemas: Literal["json", "subset", "without_limits"] = setting(
        "Gemini: `json` if `parametersJsonSchema` and `responseJsonSchema` work; `subset` reduces schemas to "
        "Google's own form. Messages and Converse: `without_limits` moves limits such as `minimum` into "
        "descriptions.",
        "json",
        shown="`json`; `without_limits` for Claude",
    )
    """See ``providers/neutral/schemas.py``."""

    wrapped_count: bool = setting(
        "Gemini: `countTokens` expects the request in `generateContentRequest`.",
        True,
    )
