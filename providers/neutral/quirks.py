"""Departures of a provider from its API, as data.

An oddity is a field here and a value in the provider's row (``providers/catalog/rows``), never a branch on its
name; a provider entry of the config may set each of them.
"""

from typing import Literal, TypeAlias

import attrs

from configfile.keys import setting

Ability: TypeAlias = Literal["images", "pdf", "tools", "choices", "structured_output"]
"""What a request may ask of a model beside text: to see images, to read PDFs, to call tools, to give several choices
(``n`` above 1), to keep to a JSON Schema."""

Skill: TypeAlias = Literal["images", "pdf", "audio", "video", "tools", "structured_output", "reasoning"]
"""What lists of models say that one can do."""


@attrs.frozen(repr=False, cache_hash=True)  # tables have it as a key
class Quirks:
    """Defaults are what OpenAI and Anthropic themselves do."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = setting(
        "Chat: the name of the token limit.",
        "max_completion_tokens",
        shown="`max_completion_tokens`; `max_tokens` for all but OpenAI",
    )
    """Chat: the name under which the token limit goes out (most OpenAI-compatible servers know only max_tokens)."""

    takes_max_tokens: bool = setting(
        "Chat: `true` if the older name `max_tokens` also works. Otherwise the limit is sent as "
        "`max_completion_tokens`.",
        True,
        shown="depends on the model",
    )
    """Chat: false where the older name ``max_tokens`` is refused, as by OpenAI's reasoning models
    (continuedev/continue#7052); it then goes out as ``max_tokens_field``."""

    default_max_tokens: int = setting(
        "Messages: the `max_tokens` of requests without one, because Messages requires it.",
        8192,
        shown="depends on the model, else `8192`",
    )
    """Messages: ``max_tokens`` is required there; sent when the client gave none."""

    developer_role: bool = setting(
        "Chat: `true` if the role `developer` works. Otherwise `system` is sent.",
        True,
        shown="`true`; `false` for all but OpenAI",
    )
    """Chat: false where role ``developer`` is refused; ``system`` is sent instead."""

    asked_in_responses: Literal["by_responses_clients", "to_keep_reasoning", "with_tools", "always"] = setting(
        "The requests that go to Responses, if the provider has that API. `by_responses_clients`: those of "
        "Responses clients. `with_tools`: also translated requests, and Chat requests with tools while the model "
        "thinks, which newer OpenAI models refuse in Chat. `to_keep_reasoning`: the same, but only at the maker's "
        "own address. `always`: all requests, because the model exists only in Responses. `speaks` takes "
        "precedence.",
        "by_responses_clients",
        shown="depends on the model",
    )
    """Which clients' requests go to the Responses API, where the provider has it too: in Chat newer models of OpenAI
    refuse tools beside reasoning (``with_tools``: what is translated anyway, and a Chat client's request that has tools
    while the model thinks), some are in Responses alone (``always``). Older ones take both, but Chat forgets their
    reasoning between calls (``to_keep_reasoning``: as ``with_tools`` at the maker's own address, where Responses
    certainly is). The ``speaks`` of an entry comes first."""

    stream_usage: bool = setting("Chat: `true` if `stream_options` works. Otherwise the usage may stay unknown.", True)
    """Chat: false where ``stream_options`` is refused; usage is then unknown unless the server sends it unasked."""

    reasoning_effort: bool = setting("Chat: `true` if `reasoning_effort` works.", True)
    """Chat: false where ``reasoning_effort`` is refused."""

    efforts: tuple[str, ...] = setting(
        "The effort levels that the model accepts. Any other level is lowered to the next accepted one.",
        (),
        shown="depends on the model",
    )
    """The levels of effort that the model knows; empty: not known, any goes out as it came."""

    reasoning_field: Literal["reasoning_content", "reasoning"] = setting(
        "Chat: the member in which the provider gets its reasoning back.", "reasoning_content"
    )
    """Chat: the member in which reasoning is given back to the provider that made it, where it did not say itself."""

    reasoning_replay: Literal["own", "every_message"] = setting(
        "Chat: `every_message` if every assistant message after the first one with reasoning needs the reasoning "
        "field.",
        "own",
    )
    """Chat: ``every_message`` where, once an assistant message has reasoning, every later one must have the field."""

    adaptive_thinking: bool = setting(
        "Messages: `true` if thinking is `adaptive` with an effort, `false` if it is `enabled` with a token budget.",
        False,
        shown="depends on the model",
    )
    """Messages: the model takes ``thinking: adaptive`` with ``output_config.effort`` (Claude 4.6 and later) instead of
    ``enabled`` with a token budget."""

    thinking_off: Literal["disabled", "between_tools", "lowest_effort"] = setting(
        "Messages: the way to turn thinking off. `lowest_effort` is for models that always think.",
        "disabled",
        shown="depends on the model",
    )
    """Messages: how thinking is turned off; ``lowest_effort`` where it always does."""

    forced_tools: bool = setting(
        "Messages: `true` if `tool_choice` may force a tool. Otherwise `auto` is sent, and `x-trigate-dropped` "
        "lists `tool_choice`.",
        True,
        shown="depends on the model",
    )
    """Messages: false where ``tool_choice`` may not be ``any`` or a tool's name; ``auto`` goes out, and is named."""

    short_call_ids: bool = setting(
        "Chat and Responses: shorten ids of tool calls over 64 characters, in the call and its result. OpenAI "
        "refuses longer ids; a server that creates longer ids needs them back unchanged.",
        True,
        shown="`true`; `false` for all but OpenAI and Azure",
    )
    """Chat and Responses: ids of calls have 64 characters at most (openclaw/openclaw#875); longer ones are shortened.
    Others' own ids may be longer, and have to come back to them as they were."""

    structured_output: bool = setting(
        "Messages: `true` if `output_config.format` works. Otherwise the prompt describes the schema.", True
    )
    """Messages: ``output_config.format`` is known; else the schema is put in words."""

    sampling: Literal["free", "unless_thinking", "only_effort_none", "never"] = setting(
        "The condition under which the model accepts `temperature`, `top_p` and `top_k`.",
        "free",
        shown="depends on the model",
    )
    """When the model takes temperature, top_p and top_k, and Chat's penalties."""

    one_of_temperature_top_p: bool = setting(
        "`true` if the model refuses `temperature` and `top_p` together. Then `top_p` is dropped.",
        False,
        shown="depends on the model",
    )
    """The model refuses temperature and top_p together; top_p goes."""

    cache_breakpoints: bool = setting(
        "Chat and Responses: `true` if `prompt_cache_breakpoint` works.", False, shown="depends on the model"
    )
    """Chat and Responses: the model takes ``prompt_cache_breakpoint`` on content parts (GPT-5.6 and later)."""

    bedrock_family: Literal[
        "claude", "claude3", "nova", "nova2", "mistral", "openai", "qwen", "zai", "minimax", "other"
    ] = setting(
        "Converse: the model's family, which decides how reasoning is requested, and whether tools can be forced "
        "and prompts cached. Needed if the model's name does not show it, as with an inference profile.",
        "other",
        shown="depends on the model, else `other`",
    )
    """Converse: whose model it is, which decides what it takes beside messages (``providers/converse/families.py``):
    forced tools, cache points, how reasoning is asked for. A name that does not say it, such as that of an inference
    profile, needs this."""

    anthropic_version: str = setting(
        "Messages: the `anthropic-version` of requests that the gateway writes.", "2023-06-01"
    )
    """Messages: what requests that trigate writes declare; a Messages client's own header passes unchanged."""

    billing_line: bool = setting(
        "Messages: send Claude Code's billing line. Only Anthropic needs it. It changes with every request and so "
        "prevents prompt cache hits at other providers.",
        True,
        shown="`true`; `false` for all but Anthropic",
    )
    """Messages: whether Claude Code's billing line goes along, which only Anthropic wants and which changes with every
    request, so that nobody else's prompt cache would ever be hit (anthropics/claude-code#68900)."""

    deferred_tools: Literal["native", "found", "all"] = setting(
        "Tools with `defer_loading`. `native`: the server searches them. `found`: the gateway sends those that the "
        "client's own search has found. `all`: it sends all of them immediately.",
        "native",
        shown="`native`; `found` for all but OpenAI and Anthropic",
    )
    """Tools with ``defer_loading``: ``native`` where the server searches them itself; else they are sent once the
    client's own search has found them, or ``all`` of them at once. Translated, ``native`` means ``found``."""

    refused_fields: tuple[str, ...] = setting(
        "Members that the server refuses, such as `store` or `tools[].strict`. The gateway drops them and lists "
        "them in `x-trigate-dropped`.",
        (),
        shown="depends on the provider",
    )
    """Members that the server refuses (``store``, ``tools[].defer_loading``): removed in both lanes and shown in
    ``x-trigate-dropped``."""

    unavailable_statuses: tuple[int, ...] = setting(
        "More error statuses that mean overload, such as `[403, 422]`. A route then continues with its next "
        "target, and the client gets 503.",
        (),
        shown="only 503 and 529",
    )
    """Statuses of errors by which the server says that it is overloaded, beside 503 and 529: another target is asked
    (api7/aisix#752)."""

    refused_betas: tuple[str, ...] = setting(
        "Messages: values of `anthropic-beta` that the server refuses, as shell patterns. The gateway drops them "
        "and lists them in `x-trigate-dropped`.",
        (),
        shown="depends on the provider",
    )
    """Messages: values of ``anthropic-beta`` that the server refuses, as shell patterns: removed and shown likewise."""

    counts_cached: bool = setting(
        "`true` if tokens read from a cache count towards the provider's rate limits. The entry's `ratelimits` "
        "then count them too, unless they set `count_cached`.",
        False,
        shown="`false`; `true` for OpenAI and Azure OpenAI",
    )
    """Tokens that are read from a cache count towards the provider's own rates, and so towards an entry's
    ``ratelimits``; Anthropic, Bedrock and Groq leave them out."""

    context_window: int | None = setting(
        "The size of the context window in tokens. A route skips a target if the prompt certainly exceeds it. See "
        "[models](models.md#facts).",
        None,
        shown="depends on the model",
    )
    """Tokens of the model's context window, as its server has it; not known: no prompt is taken to be too long."""

    max_output: int | None = setting(
        "The longest answer in tokens. Lists of models show it, and `reserve: max` reserves its cost. It does not "
        "change a request's own limit.",
        None,
        shown="depends on the model",
    )
    """The most tokens that an answer may have; not known: none is taken to be too long."""

    can: tuple[Skill, ...] = setting(
        "The abilities shown in lists of models: `images`, `pdf`, `audio`, `video`, `tools`, `structured_output`, "
        "`reasoning`.",
        (),
        shown="depends on the model",
    )
    """What the model is known to do, for lists of models. What stands in neither of both is not known."""

    cannot: tuple[Ability, ...] = setting(
        "The abilities that the model or the server lacks: `images`, `pdf`, `tools`, `choices` (`n` above 1), "
        "`structured_output`. A route prefers targets that have them. A request with images gets 400 if no target "
        "can see images. `[]` means that it can do everything, whatever the gateway knows of it.",
        (),
        shown="depends on the model",
    )
    """What the model or its server cannot do. Of a name's several targets those that can are asked; what is not listed
    here is tried."""

    thinking_control: Literal["level", "budget", "none"] = setting(
        "Gemini: the way to set the amount of thinking: by `level`, by `budget`, or `none`.",
        "level",
        shown="depends on the model",
    )
    """Gemini: how a request says how much the model thinks (models before 3 take tokens, those before 2.5 nothing)."""

    thinking_levels: tuple[str, ...] = setting(
        "Gemini: the thinking levels that the model knows.",
        ("minimal", "low", "medium", "high"),
        shown="depends on the model",
    )
    """Gemini: the levels of thinking that the model knows."""

    thinking_budgets: tuple[int, int] = setting(
        "Gemini: the smallest and largest thinking budget in tokens, such as `[128, 32768]`.",
        (1, 24_576),
        shown="depends on the model",
    )
    """Gemini: the least and the most tokens of thinking that a request may ask for."""

    signed_calls: bool = setting(
        "Gemini: `true` if the model refuses earlier tool calls without a thought signature. The gateway then adds "
        "the placeholder that Google documents.",
        False,
        shown="depends on the model",
    )
    """Gemini: the model refuses a history whose calls have no thought signature; what Google documents for those is
    then put in its place."""

    mixed_tools: bool = setting(
        "Gemini: `true` if Google's own tools, or a response schema, work together with functions. Otherwise "
        "Google's tools are dropped, the prompt describes the schema, and `x-trigate-dropped` lists both.",
        True,
        shown="depends on the model",
    )
    """Gemini: the model takes Google's own tools, or a schema for its answer, beside functions."""

    server_tool_invocations: bool = setting(
        "Gemini: `true` if `includeServerSideToolInvocations` works. Vertex AI does not know it.", True
    )
    """Gemini: ``includeServerSideToolInvocations`` is known (Vertex AI does not know it)."""

    media_in_results: bool = setting(
        "Gemini: `true` if a tool result may contain images and files. Otherwise they follow after all results.",
        True,
        shown="depends on the model",
    )
    """Gemini: images and files may stand in the result of a function."""

    schemas: Literal["json", "subset"] = setting(
        "Gemini: `json` if `parametersJsonSchema` and `responseJsonSchema` work. `subset` reduces schemas to "
        "Google's own form, and `x-trigate-dropped` lists the lost parts.",
        "json",
    )
    """Gemini: ``parametersJsonSchema`` and ``responseJsonSchema`` are known; else schemas are reduced to what
    ``parameters`` and ``responseSchema`` can say."""

    wrapped_count: bool = setting(
        "Gemini: `true` if `countTokens` expects the request in `generateContentRequest`, `false` if it expects "
        "the members directly.",
        True,
    )
    """Gemini: ``countTokens`` takes a whole request as ``generateContentRequest``; else its members themselves."""
