"""Departures of a provider from its API, as data.

An oddity is a field here and a value in the provider's row (``providers/catalog/rows``), never a branch on its
name; a provider entry of the config may set each of them.
"""

from typing import Literal, TypeAlias

import attrs

Ability: TypeAlias = Literal["images", "pdf", "tools", "choices", "structured_output"]
"""What a request may ask of a model beside text: to see images, to read PDFs, to call tools, to give several choices
(``n`` above 1), to keep to a JSON Schema."""

Skill: TypeAlias = Literal["images", "pdf", "audio", "video", "tools", "structured_output", "reasoning"]
"""What lists of models say that one can do."""


@attrs.frozen
class Quirks:
    """Defaults are what OpenAI and Anthropic themselves do."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    """Chat: the name under which the token limit goes out (most OpenAI-compatible servers know only max_tokens)."""

    takes_max_tokens: bool = True
    """Chat: false where the older name ``max_tokens`` is refused, as by OpenAI's reasoning models
    (continuedev/continue#7052); it then goes out as ``max_tokens_field``."""

    default_max_tokens: int = 8192
    """Messages: ``max_tokens`` is required there; sent when the client gave none."""

    developer_role: bool = True
    """Chat: false where role ``developer`` is refused; ``system`` is sent instead."""

    asked_in_responses: Literal["by_responses_clients", "to_keep_reasoning", "with_tools", "always"] = (
        "by_responses_clients"
    )
    """Which clients' requests go to the Responses API, where the provider has it too: in Chat newer models of OpenAI
    refuse tools beside reasoning (``with_tools``: what is translated anyway, and a Chat client's request that has tools
    while the model thinks), some are in Responses alone (``always``). Older ones take both, but Chat forgets their
    reasoning between calls (``to_keep_reasoning``: as ``with_tools`` at the maker's own address, where Responses
    certainly is). The ``speaks`` of an entry comes first."""

    stream_usage: bool = True
    """Chat: false where ``stream_options`` is refused; usage is then unknown unless the server sends it unasked."""

    reasoning_effort: bool = True
    """Chat: false where ``reasoning_effort`` is refused."""

    efforts: tuple[str, ...] = ()
    """The levels of effort that the model knows; empty: not known, any goes out as it came."""

    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    """Chat: the member in which reasoning is given back to the provider that made it, where it did not say itself."""

    reasoning_replay: Literal["own", "every_message"] = "own"
    """Chat: ``every_message`` where, once an assistant message has reasoning, every later one must have the field."""

    adaptive_thinking: bool = False
    """Messages: the model takes ``thinking: adaptive`` with ``output_config.effort`` (Claude 4.6 and later) instead of
    ``enabled`` with a token budget."""

    thinking_off: Literal["disabled", "between_tools", "lowest_effort"] = "disabled"
    """Messages: how thinking is turned off; ``lowest_effort`` where it always does."""

    forced_tools: bool = True
    """Messages: false where ``tool_choice`` may not be ``any`` or a tool's name; ``auto`` goes out, and is named."""

    short_call_ids: bool = True
    """Chat and Responses: ids of calls have 64 characters at most (openclaw/openclaw#875); longer ones are shortened.
    Others' own ids may be longer, and have to come back to them as they were."""

    structured_output: bool = True
    """Messages: ``output_config.format`` is known; else the schema is put in words."""

    sampling: Literal["free", "unless_thinking", "only_effort_none", "never"] = "free"
    """When the model takes temperature, top_p and top_k, and Chat's penalties."""

    one_of_temperature_top_p: bool = False
    """The model refuses temperature and top_p together; top_p goes."""

    cache_breakpoints: bool = False
    """Chat and Responses: the model takes ``prompt_cache_breakpoint`` on content parts (GPT-5.6 and later)."""

    bedrock_family: Literal[
        "claude", "claude3", "nova", "nova2", "mistral", "openai", "qwen", "zai", "minimax", "other"
    ] = "other"
    """Converse: whose model it is, which decides what it takes beside messages (``providers/converse/families.py``):
    forced tools, cache points, how reasoning is asked for. A name that does not say it, such as that of an inference
    profile, needs this."""

    anthropic_version: str = "2023-06-01"
    """Messages: what requests that trigate writes declare; a Messages client's own header passes unchanged."""

    billing_line: bool = True
    """Messages: whether Claude Code's billing line goes along, which only Anthropic wants and which changes with every
    request, so that nobody else's prompt cache would ever be hit (anthropics/claude-code#68900)."""

    deferred_tools: Literal["native", "found", "all"] = "native"
    """Tools with ``defer_loading``: ``native`` where the server searches them itself; else they are sent once the
    client's own search has found them, or ``all`` of them at once. Translated, ``native`` means ``found``."""

    refused_fields: tuple[str, ...] = ()
    """Members that the server refuses (``store``, ``tools[].defer_loading``): removed in both lanes and shown in
    ``x-trigate-dropped``."""

    unavailable_statuses: tuple[int, ...] = ()
    """Statuses of errors by which the server says that it is overloaded, beside 503 and 529: another target is asked
    (api7/aisix#752)."""

    refused_betas: tuple[str, ...] = ()
    """Messages: values of ``anthropic-beta`` that the server refuses, as shell patterns: removed and shown likewise."""

    counts_cached: bool = False
    """Tokens that are read from a cache count towards the provider's own rates, and so towards an entry's
    ``ratelimits``; Anthropic, Bedrock and Groq leave them out."""

    context_window: int | None = None
    """Tokens of the model's context window, as its server has it; not known: no prompt is taken to be too long."""

    max_output: int | None = None
    """The most tokens that an answer may have; not known: none is taken to be too long."""

    can: tuple[Skill, ...] = ()
    """What the model is known to do, for lists of models. What stands in neither of both is not known."""

    cannot: tuple[Ability, ...] = ()
    """What the model or its server cannot do. Of a name's several targets those that can are asked; what is not listed
    here is tried."""

    thinking_control: Literal["level", "budget", "none"] = "level"
    """Gemini: how a request says how much the model thinks (models before 3 take tokens, those before 2.5 nothing)."""

    thinking_levels: tuple[str, ...] = ("minimal", "low", "medium", "high")
    """Gemini: the levels of thinking that the model knows."""

    thinking_budgets: tuple[int, int] = (1, 24_576)
    """Gemini: the least and the most tokens of thinking that a request may ask for."""

    signed_calls: bool = False
    """Gemini: the model refuses a history whose calls have no thought signature; what Google documents for those is
    then put in its place."""

    mixed_tools: bool = True
    """Gemini: the model takes Google's own tools, or a schema for its answer, beside functions."""

    server_tool_invocations: bool = True
    """Gemini: ``includeServerSideToolInvocations`` is known (Vertex AI does not know it)."""

    media_in_results: bool = True
    """Gemini: images and files may stand in the result of a function."""

    schemas: Literal["json", "subset"] = "json"
    """Gemini: ``parametersJsonSchema`` and ``responseJsonSchema`` are known; else schemas are reduced to what
    ``parameters`` and ``responseSchema`` can say."""

    wrapped_count: bool = True
    """Gemini: ``countTokens`` takes a whole request as ``generateContentRequest``; else its members themselves."""
