"""Rules of providers' prompt caches as rows, each with its documentation and the day on which it was read.

``caching_row`` returns the row of a provider's model. Unknown rules are ``None``: a verdict on a miss needs the rule
that it is based on."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from providers.catalog.models import plain_name
from providers.catalog.provider import Source
from providers.neutral.patterns import fits
from streams.events import Api

CachedSection: TypeAlias = Literal["tools", "system", "history"]

BoundaryRule: TypeAlias = Literal["marks", "ends", "step"]
"""The positions where a request leaves cache entries: marked blocks, ends of messages, or a number of tokens."""

_NONE: Final[Mapping[str, float]] = MappingProxyType({})
_NO_SOURCES: Final[Mapping[str, Source]] = MappingProxyType({})
_MAX_NAME: Final = 200  # characters of a model's id; a client may send megabytes
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


@attrs.frozen(repr=False)
class CachingRow:
    """The rules of a provider's prompt cache for some models. ``None`` is an unknown or undocumented rule.

    - ``needs_marks``: nothing is cached without a mark. ``takes_marks``: the most marks in a request, 0 for none.
      ``mark_member``: the top-level member that marks the last block.
    - ``minimum``: the tokens below which a prefix is not cached.
    - ``boundaries``: where a request leaves entries. ``step``: the tokens to which cached prefixes are rounded down.
    - ``lookup``: the positions before a mark where the provider searches for an entry.
    - ``lifetime``: the seconds for which an unused entry stays at least; ``longest``: at most. ``lifetimes``: by the
      word of a mark or of the member ``lifetime_member``, the seconds that replace both.
    - ``settings``: members of a request besides its prompt that are in the key, each with the section from which on.
      A name with ``header:`` is a header; ``media`` is the presence of images.
    - ``ignores``: parts of a request that are not in the key: ``billing_line``, ``deferred_tools``.
    - ``reports``: ``exact`` (read and written), ``read``, or ``flag`` (read, if the server is started with a flag).
      ``states_zero``: a response without a count of read tokens reports nothing, rather than 0.
    - ``rate``: requests per minute for one prefix and key that one machine serves.
    - ``key_member``: the member or header that selects or routes to a cache; ``key_separates``: it is in the key.
    - ``takes_salt``: the member that separates caches of users.
    - ``diagnosis_member``: the path of the id of an earlier response with which the provider compares the request, to
      explain a miss. ``diagnoses_from_start``: only if a first request has it too, with null.
    - ``sources``: by field, its documentation; "" for all others."""

    needs_marks: bool = False
    takes_marks: int = 0
    mark_member: str | None = None
    minimum: int | None = None
    boundaries: BoundaryRule | None = None
    step: int | None = None
    lookup: int | None = None
    lifetime: float | None = None
    longest: float | None = None
    lifetimes: Mapping[str, float] = _NONE
    lifetime_member: str | None = None
    settings: tuple[tuple[str, CachedSection], ...] = ()
    ignores: tuple[str, ...] = ()
    reports: Literal["exact", "read", "flag"] = "read"
    states_zero: bool = False
    rate: int | None = None
    key_member: str | None = None
    key_separates: bool = False
    takes_salt: str | None = None
    diagnosis_member: str | None = None
    diagnoses_from_start: bool = False
    sources: Mapping[str, Source] = _NO_SOURCES


READ: Final = "2026-11-23"


def _sources(url: str, **others: str) -> Mapping[str, Source]:
    return MappingProxyType({field: Source(where, READ) for field, where in {"": url, **others}.items()})


_CLAUDE: Final = CachingRow(
    needs_marks=True, takes_marks=4, mark_member="cache_control", minimum=1024, boundaries="marks", lookup=20,
    lifetime=300.0, longest=300.0, lifetimes=MappingProxyType({"5m": 300.0, "1h": _HOUR}),
    settings=(
        # The format is at the start of the prompt, and betas change how it is rendered.
        ("output_config.format", "tools"), ("output_format", "tools"), ("header:anthropic-beta", "tools"),
        ("speed", "system"), ("citations", "system"), ("web_search", "system"),
        ("tool_choice", "history"), ("thinking", "history"), ("output_config.effort", "history"),
    ),
    ignores=("billing_line", "deferred_tools"), reports="exact", states_zero=True,
    sources=_sources(
        "https://platform.claude.com/docs/en/build-with-claude/prompt-caching",
        # A changed presence of images did no harm when it was measured, so it is not among the settings.
        settings="https://platform.claude.com/docs/en/build-with-claude/prompt-caching#what-invalidates-the-cache",
    ),
)  # fmt: skip

_CLAUDE_MINIMA: Final[tuple[tuple[str, int], ...]] = (
    ("claude-opus-5*", 512), ("claude-sonnet-5-5*", 512), ("claude-haiku-5-5*", 512), ("claude-fable-*", 512),
    ("claude-mythos-*", 512), ("claude-opus-4-8*", 1024), ("claude-opus-4-7*", 2048), ("claude-opus-4-6*", 4096),
    ("claude-opus-4-5*", 4096), ("claude-haiku-4-5*", 4096), ("claude-3-haiku*", 2048), ("claude-3-5-haiku*", 2048),
    ("claude-*", 1024),
)  # fmt: skip
"""The minimum by model; the first match applies."""

_BEDROCK_PAGE: Final = "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"
_BEDROCK: Final = attrs.evolve(
    _CLAUDE, mark_member=None,
    settings=(
        ("outputConfig", "tools"), ("additionalModelRequestFields.anthropic_beta", "tools"),
        ("toolConfig.toolChoice", "history"), ("additionalModelRequestFields.thinking", "history"),
        ("additionalModelRequestFields.output_config", "history"),
    ),
    sources=_sources(_BEDROCK_PAGE),
)  # fmt: skip
_BEDROCK_MINIMA: Final = (
    ("claude-opus-4-7*", 4096),
    # Sonnet 4.5 is disputed: 1,024 or 4,096. A smaller prefix may be too small, so that its miss is unknown.
    *(pair for pair in _CLAUDE_MINIMA if pair[0] != "claude-opus-4-7*"),
)

_OPENAI_PAGE: Final = "https://developers.openai.com/api/docs/guides/prompt-caching"
_OPENAI_SETTINGS: Final[tuple[tuple[str, CachedSection], ...]] = (
    ("parallel_tool_calls", "tools"), ("response_format", "tools"), ("text.format", "tools"),
    ("reasoning.effort", "tools"), ("reasoning_effort", "tools"), ("text.verbosity", "tools"), ("verbosity", "tools"),
    ("context_management", "tools"),
)  # fmt: skip
_OPENAI: Final = CachingRow(
    minimum=1024, boundaries="step", step=128, lifetime=300.0, longest=600.0,
    lifetimes=MappingProxyType({"24h": _DAY}), lifetime_member="prompt_cache_retention",
    settings=_OPENAI_SETTINGS, rate=15, states_zero=True, key_member="prompt_cache_key", sources=_sources(_OPENAI_PAGE),
)  # fmt: skip
_OPENAI_55: Final = attrs.evolve(_OPENAI, step=2048)
_OPENAI_56: Final = CachingRow(
    takes_marks=4, minimum=1024, boundaries="ends", lookup=20, lifetime=1800.0,
    lifetimes=MappingProxyType({"30m": 1800.0, "12h": 12 * _HOUR}), settings=_OPENAI_SETTINGS, reports="exact",
    states_zero=True,
    key_member="prompt_cache_key", key_separates=True, takes_salt="prompt_cache_key", sources=_sources(_OPENAI_PAGE),
)  # fmt: skip

_GEMINI_PAGE: Final = "https://ai.google.dev/gemini-api/docs/caching"
_GEMINI: Final = CachingRow(minimum=4096, sources=_sources(_GEMINI_PAGE))

_VLLM_PAGE: Final = "https://docs.vllm.ai/en/latest/design/prefix_caching/"
_OWN_SERVER: Final = CachingRow(boundaries="step", step=16, reports="flag")
_MARKED: Final = CachingRow(needs_marks=True, takes_marks=4)

_Models: TypeAlias = tuple[tuple[str, CachingRow], ...]


def _with_minima(row: CachingRow, minima: tuple[tuple[str, int], ...]) -> _Models:
    return tuple((pattern, attrs.evolve(row, minimum=minimum)) for pattern, minimum in minima)


_ON_OPENAI: Final[_Models] = (
    ("gpt-5.[6-9]*", _OPENAI_56),
    ("gpt-[6-9]*", _OPENAI_56),
    ("gpt-daybreak-*", _OPENAI_56),
    ("gpt-5.5*", _OPENAI_55),
    ("gpt-*", _OPENAI),
    ("o[1-9]*", _OPENAI),
    ("codex-*", _OPENAI),
    ("chatgpt-*", _OPENAI),
)
_ON_CLAUDE: Final = _with_minima(_CLAUDE, _CLAUDE_MINIMA)
_DIAGNOSES_PAGE: Final = "https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics"
_ON_ANTHROPIC: Final = _with_minima(
    attrs.evolve(
        _CLAUDE,
        diagnosis_member="diagnostics.previous_message_id",
        diagnoses_from_start=True,
        # An older page required the header cache-diagnosis-2026-04-07; the newer one and the SDKs do not.
        sources={**_CLAUDE.sources, "diagnosis_member": Source(_DIAGNOSES_PAGE, READ)},
    ),
    _CLAUDE_MINIMA,
)
_ON_RESPONSES: Final[_Models] = tuple(
    (
        pattern,
        attrs.evolve(row, diagnosis_member="prompt_cache_options.comparison_response_id") if row is _OPENAI_56 else row,
    )
    for pattern, row in _ON_OPENAI
)
_ON_GEMINI: Final[_Models] = (
    ("gemini-2.5-*", attrs.evolve(_GEMINI, minimum=2048)),
    ("gemini-*", _GEMINI),
)

ROWS: Final[Mapping[tuple[str, Api | None], _Models]] = MappingProxyType(
    {
        # Anthropic's Chat has no prompt caching (https://platform.claude.com/docs/en/api/openai-sdk).
        ("anthropic", "messages"): _ON_ANTHROPIC,
        ("vertex", "messages"): _ON_CLAUDE,
        ("foundry", "messages"): _ON_CLAUDE,
        ("bedrock_invoke", "messages"): _with_minima(
            attrs.evolve(_CLAUDE, sources=_sources(_BEDROCK_PAGE)), _BEDROCK_MINIMA
        ),
        ("amazon_bedrock", "converse"): (
            *_with_minima(_BEDROCK, _BEDROCK_MINIMA),
            ("*nova-*", attrs.evolve(_BEDROCK, minimum=1024, lookup=None, lifetimes=MappingProxyType({"5m": 300.0}))),
        ),
        ("openai", "responses"): _ON_RESPONSES,
        ("openai", None): _ON_OPENAI,
        ("chatgpt", None): _ON_OPENAI,
        ("azure_openai", None): (*_ON_OPENAI, ("*", _OPENAI)),
        ("foundry", None): _ON_OPENAI,
        ("gemini", None): _ON_GEMINI,
        ("vertex", None): _ON_GEMINI,
        ("deepseek", None): (("*", CachingRow(
            boundaries="step", step=128, lifetime=_HOUR, longest=2 * _DAY,
            # It documents an unstated interval, 64 tokens in 2024; 128 tokens were measured.
            sources=_sources("https://api-docs.deepseek.com/guides/kv_cache"),
        )),),
        ("mistral", None): (("*", CachingRow(
            minimum=64, boundaries="step", step=64, key_member="prompt_cache_key",
            sources=_sources("https://docs.mistral.ai/inference/conversations/advanced/prompt-caching"),
        )),),
        ("xai", "chat"): (("*", CachingRow(
            key_member="header:x-grok-conv-id",
            sources=_sources("https://docs.x.ai/developers/advanced-api-usage/prompt-caching/best-practices"),
        )),),
        ("xai", "responses"): (("*", CachingRow(
            key_member="prompt_cache_key",
            sources=_sources("https://docs.x.ai/developers/advanced-api-usage/prompt-caching/best-practices"),
        )),),
        ("groq", None): (("*", CachingRow(
            minimum=1024, lifetime=2 * _HOUR, longest=2 * _HOUR,  # the minimum is 128 to 1,024, by model
            sources=_sources("https://console.groq.com/docs/prompt-caching"),
        )),),
        ("moonshotai", None): (("*", CachingRow(sources=_sources("https://platform.kimi.ai/docs"))),),
        ("zai", None): (("*", CachingRow(sources=_sources("https://docs.z.ai/guides/capabilities/cache"))),),
        ("zhipu", None): (("*", CachingRow(sources=_sources("https://docs.z.ai/guides/capabilities/cache"))),),
        # Requests of a session stay at one provider for 10 minutes. The cache belongs to that provider.
        ("openrouter", None): (
            *((pattern, attrs.evolve(
                row, lookup=None, lifetime=None, longest=None, lifetimes=_NONE, settings=(), key_member="session_id",
                sources=_sources("https://openrouter.ai/docs/guides/best-practices/prompt-caching"),
            )) for pattern, row in _ON_CLAUDE),
            ("*", CachingRow(
                key_member="session_id",
                sources=_sources("https://openrouter.ai/docs/guides/best-practices/prompt-caching"),
            )),
        ),
        ("vllm", None): (("*", attrs.evolve(_OWN_SERVER, takes_salt="cache_salt", sources=_sources(_VLLM_PAGE))),),
        ("nim", None): (("*", attrs.evolve(_OWN_SERVER, sources=_sources(_VLLM_PAGE))),),
        ("sglang", None): (("*", attrs.evolve(
            _OWN_SERVER, step=64, sources=_sources("https://docs.sglang.ai/advanced_features/server_arguments.html"),
        )),),
        ("llama_cpp", None): (("*", attrs.evolve(
            _OWN_SERVER, step=1, reports="read",
            sources=_sources("https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"),
        )),),
        ("minimax", "messages"): (("*", attrs.evolve(
            _MARKED, mark_member="cache_control",
            sources=_sources("https://platform.minimax.io/docs/api-reference/text-anthropic-api"),
        )),),
        ("qwen", None): (("*", attrs.evolve(
            _MARKED, sources=_sources("https://www.alibabacloud.com/help/en/model-studio/context-cache"),
        )),),
    }
)  # fmt: skip
"""By provider and API (``None``: every other one), patterns of plain model ids with their rows; the first match
applies."""


def caching_row(provider_id: str, model: str, api: Api) -> CachingRow | None:
    """Return the rules for ``model`` of the provider at ``api``, ``None`` if they are unknown.

    Long names are not cached, because a client may send megabytes."""
    return _find_row(provider_id, model, api) if len(model) <= _MAX_NAME else None


@lru_cache(maxsize=1024)
def _find_row(provider_id: str, model: str, api: Api) -> CachingRow | None:
    name = plain_name(model)
    for key in ((provider_id, api), (provider_id, None)):
        for pattern, row in ROWS.get(key, ()):
            if fits(name, pattern):
                return row
    return None
