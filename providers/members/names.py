"""Names of request members in a configuration, and their paths in each API.

A neutral name (``temperature``) means the member of the same meaning in each API. A prefixed path
(``responses.text.verbosity``) belongs to one API or endpoint. ``other.NAME`` is any provider's own member.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, Final, Literal, TypeAlias

import attrs

from configfile.wording import Wrong, describe, nearest
from providers.endpoints.endpoint import ENDPOINTS
from providers.gemini.spellings import snake
from providers.members.raw_paths import EVERY, Path
from providers.neutral.parameters import BY_NAME, ROWS
from streams.events import APIS, Api

Wire: TypeAlias = str
"""An API or an endpoint: the format of a request's body."""

Use: TypeAlias = Literal["default", "set", "max", "drop"]

_WITHIN: Final[Mapping[str, Path]] = {
    "gemini": ("generationConfig",), "converse": ("inferenceConfig",), "interactions": ("generation_config",),
}  # fmt: skip
"""Objects that have the settings of the neutral table."""

_MORE: Final = "additionalModelRequestFields"

_OWN: Final[Mapping[str, Mapping[Wire, tuple[str, ...]]]] = {
    "max_tokens": {
        "chat": ("max_completion_tokens", "max_tokens"),
        "converse": (
            "inferenceConfig.maxTokens",
            *(f"{_MORE}.{name}" for name in (
                "max_tokens", "max_new_tokens", "max_gen_len", "max_completion_tokens", "max_tokens_to_sample",
            )),
        ),
        "completions": ("max_tokens",),
        "fim": ("max_tokens",),
    },
    "verbosity": {"responses": ("text.verbosity",)},
    "user": {"messages": ("metadata.user_id",), "embeddings": ("user",), "image_generations": ("user",)},
    "reasoning_effort": {
        "chat": ("reasoning_effort", "reasoning.effort"),
        "messages": ("output_config.effort",),
        "responses": ("reasoning.effort",),
        "gemini": ("generationConfig.thinkingConfig.thinkingLevel",),
        "converse": (
            "outputConfig.effort", f"{_MORE}.output_config.effort", f"{_MORE}.reasoning_effort",
            f"{_MORE}.reasoningConfig.maxReasoningEffort",
        ),
        "interactions": ("generation_config.thinking_level",),
    },
    "thinking_budget": {
        "chat": ("reasoning.max_tokens",),
        "messages": ("thinking.budget_tokens",),
        "gemini": ("generationConfig.thinkingConfig.thinkingBudget",),
        "converse": (
            f"{_MORE}.thinking.budget_tokens", f"{_MORE}.reasoning_config.budget_tokens",
            f"{_MORE}.reasoningConfig.budget_tokens",
        ),
    },
    "top_k": {"converse": (f"{_MORE}.top_k", f"{_MORE}.topK")},
    "n": {"image_generations": ("n",)},
    "tools": {
        "chat": ("tools", "functions"),
        "messages": ("tools",),
        "responses": ("tools",),
        "gemini": ("tools",),
        "converse": ("toolConfig",),
        "interactions": ("tools",),
    },
    **{name: {"interactions": (name,)} for name in ("store", "service_tier", "background")},
}  # fmt: skip
"""Members beyond the neutral table, or with several paths; a new member gets the first one."""

_NEVER_ADDED: Final = frozenset((("thinking_budget", "chat"),))
"""Members that only some servers of an API know: OpenRouter's ``reasoning`` in Chat."""

_COMPLETIONS: Final = (
    "temperature", "top_p", "stop", "seed", "n", "frequency_penalty", "presence_penalty", "logit_bias", "user",
)  # fmt: skip
"""Settings of the older text completions, which have their neutral names."""

_TOOL_ITEMS: Final[Mapping[Wire, tuple[str, ...]]] = {
    "chat": ("tools[]", "tools[].function", "tools[].custom", "functions[]"),
    "messages": ("tools[]",),
    "responses": ("tools[]", "tools[].tools[]"),
    "gemini": ("tools[].functionDeclarations[]", "tools[]"),
    "converse": ("toolConfig.tools[].toolSpec", "toolConfig.tools[]"),
    "interactions": ("tools[]",),
}
"""The places of a tool's members."""

WITH_TOOLS: Final[Mapping[Wire, tuple[str, ...]]] = {
    "chat": ("tool_choice", "function_call", "parallel_tool_calls"),
    "messages": ("tool_choice",),
    "responses": ("tool_choice", "parallel_tool_calls"),
    "gemini": ("toolConfig", "tool_config"),
    "interactions": ("generation_config.tool_choice",),
}
"""Members that providers refuse without tools."""

_NOT_NEUTRAL: Final = frozenset(
    ("conversation", "previous_response_id", "prompt", "guardrail", "prompt_variables", "sealed_summary")
)

_KINDS: Final[Mapping[str, type]] = {
    **{row.name: row.kind for row in ROWS if row.name not in _NOT_NEUTRAL},
    "reasoning_effort": str,
    "thinking_budget": int,
    "tools": list,
}
"""The neutral names with the types of their values."""

EFFORT: Final = "reasoning_effort"
BUDGET: Final = "thinking_budget"
LIMIT: Final = "max_tokens"

_CONVERSATION: Final[Mapping[Wire, str]] = {
    "chat": "messages",
    "messages": "messages system thread compaction",
    "responses": "input instructions previous_response_id conversation prompt",
    "gemini": "contents systemInstruction continuationToken",
    "converse": "messages system",
    "interactions": "input system_instruction previous_interaction_id continuation_token agent",
    "completions": "prompt suffix",
    "fim": "prompt suffix",
    "embeddings": "input texts images inputs content requests",
    "rerank": "query documents texts",
    "speech": "input",
    "moderations": "input",
    "image_generations": "prompt",
    "ocr": "document",
}
_FIXED: Final = frozenset(
    ("model", "stream", *(name for names in _CONVERSATION.values() for name in names.split()))
)  # fmt: skip

KNOWN: Final[Mapping[Api, str]] = {
    "chat": """
        audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
        modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
        prompt_cache_retention reasoning reasoning_effort response_format safety_identifier seed service_tier stop store
        stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options""",
    "messages": """
        billing_policy cache_control container context_management diagnostics fallback_credit_token fallbacks
        inference_geo max_tokens mcp_servers metadata output_config output_format service_tier speed stop_sequences
        temperature thinking tool_choice tools top_k top_p""",
    "responses": """
        access_programs background background_options context_management image include max_output_tokens max_tool_calls
        metadata moderation parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention reasoning
        safety_identifier service_tier store stream_options temperature text tool_choice tools top_logprobs top_p
        truncation user""",
    "gemini": """
        cachedContent generationConfig labels modelArmorConfig safetySettings serviceTier store toolConfig tools""",
    "converse": """
        additionalModelRequestFields additionalModelResponseFieldPaths guardrailConfig inferenceConfig outputConfig
        performanceConfig projectIdentifier promptVariables requestMetadata serviceTier toolConfig""",
    "interactions": """
        agent_config background cached_content environment generation_config labels response_format response_mime_type
        response_modalities safety_settings service_tier store tools webhook_config""",
}
"""The members of each API's requests besides the conversation. Source: the parameter types of the official SDKs."""

INNER: Final[Mapping[Api, Mapping[str, str]]] = {
    "chat": {
        "audio": "format voice",
        "function_call": "name",
        "moderation": "model policy",
        "prediction": "content type",
        "prompt_cache_options": "mode ttl",
        "response_format": "json_schema type",
        "stream_options": "include_obfuscation include_usage",
        "web_search_options": "search_context_size user_location",
    },
    "messages": {
        "billing_policy": "bill_to type",
        "cache_control": "ttl type",
        "container": "id skills",
        "context_management": "edits",
        "diagnostics": "previous_message_id",
        "fallback_credit_token": "mode token",
        "metadata": "user_id",
        "output_config": "effort format task_budget",
        "thinking": "block_binding budget_tokens display type",
    },
    "responses": {
        "access_programs": "cyber",
        "background_options": "completion_window continuation_id",
        "image": "context_compression",
        "moderation": "model policy",
        "prompt_cache_options": "comparison_response_id mode prewarm ttl",
        "reasoning": "context effort generate_summary mode summary",
        "stream_options": "include_obfuscation",
        "text": "format verbosity",
    },
    "gemini": {
        "generationConfig": """
            audioTimestamp audioTranscriptionConfig candidateCount enableAffectiveDialog enableEnhancedCivicAnswers
            frequencyPenalty logprobs maxOutputTokens mediaResolution modelSelectionConfig presencePenalty
            responseFormat responseJsonSchema responseLogprobs responseMimeType responseModalities responseSchema
            routingConfig seed speechConfig stopSequences temperature thinkingConfig topK topP translationConfig""",
        "modelArmorConfig": "promptTemplateName responseTemplateName",
    },
    "converse": {
        "guardrailConfig": "guardrailIdentifier guardrailVersion trace",
        "inferenceConfig": "maxTokens stopSequences temperature topP",
        "outputConfig": "effort textFormat",
        "performanceConfig": "latency",
        "serviceTier": "type",
    },
    "interactions": {
        "environment": "custom_config env environment_id mode network sources type",
        "generation_config": """
            image_config max_output_tokens seed speech_config stop_sequences temperature thinking_level
            thinking_summaries tool_choice top_p transcription_config video_config""",
        "response_format": """
            aspect_ratio bit_rate delivery duration gcs_uri image_size mime_type resolution sample_rate schema type""",
        "webhook_config": "uris user_metadata",
    },
}
"""The members of objects that have no others, by the object's name. Source: as for ``KNOWN``."""

_NO_JSON: Final = frozenset(
    ("image_edits", "image_variations", "transcriptions", "translations", "files", "uploads", "vector_stores",
     "containers", "batches", "message_batches", "videos", "realtime", "voices", "passthrough")
)  # fmt: skip
"""Endpoints whose requests are no JSON bodies for a model."""

BODY_ENDPOINTS: Final = tuple(name for name in ENDPOINTS if name not in _NO_JSON)
"""The endpoints whose members can be set."""

OTHER: Final = "other"
_PREFIXES: Final = (*APIS, *BODY_ENDPOINTS, OTHER)
_CLIENTS: Final = "model, stream and the conversation belong to the client"
_STEP: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?:\[\])?")
_NAMED: Final[Mapping[type, str]] = {
    int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list", dict: "a mapping",
}  # fmt: skip


@attrs.frozen(repr=False)
class NamedMember:
    """A request member that a configuration names.

    ``scope`` is ``""`` for a neutral name, an API, an endpoint, or ``other``. ``path`` is the path without the prefix;
    a neutral name is its first step. ``shown`` is that path as text, for reports.
    """

    scope: str
    path: Path
    shown: str

    @property
    def neutral(self) -> str | None:
        """The neutral name that it is, ``None`` for a member within one, or of one API."""
        return self.path[0] if not self.scope and len(self.path) == 1 else None

    @property
    def is_limit(self) -> bool:
        """Whether it is the limit on output tokens."""
        return self.neutral == LIMIT

    def may_be_added(self, wire: Wire) -> bool:
        """Return whether a request in the format ``wire`` may get it as a new member."""
        return (self.neutral, wire) not in _NEVER_ADDED and bool(self.paths_in(wire))

    def paths_in(self, wire: Wire) -> tuple[Path, ...]:
        """Return its paths in the API or endpoint ``wire``, first the one for a new member; none if it has no such
        member."""
        return _paths_in(self, wire)


@lru_cache(4096)
def _paths_in(member: NamedMember, wire: Wire) -> tuple[Path, ...]:
    if member.scope == OTHER or member.scope == wire:
        found: Iterable[Path] = (member.path,)
    elif member.scope:
        return ()
    elif member.path[:2] == ("tools", EVERY):
        found = ((*parse_steps(place), *member.path[2:]) for place in _TOOL_ITEMS.get(wire, ()))
    else:
        found = ((*head, *member.path[1:]) for head in _neutral_paths(member.path[0], wire))
    if wire == "gemini" and member.scope != OTHER:
        # Gemini's clients mix both spellings of each step.
        found = (path for one in found for path in product(*(dict.fromkeys((step, snake(step))) for step in one)))
    return tuple(dict.fromkeys(found))


def _neutral_paths(name: str, wire: Wire) -> Iterator[Path]:
    own = _OWN.get(name, {})
    if wire in own:
        yield from map(parse_steps, own[wire])
    elif wire in ("completions", "fim"):
        if name in _COMPLETIONS:
            yield (name,)
    elif (row := BY_NAME.get(name)) is not None and (field := row.field(wire)):
        yield (*_WITHIN.get(wire, ()), field)


def parse_steps(text: str) -> Path:
    """Return the path that ``text`` means: ``tools[].strict`` is ``("tools", "[]", "strict")``."""
    return tuple(part for step in text.split(".") for part in ((step[:-2], EVERY) if step.endswith(EVERY) else (step,)))


# Names in a configuration


def read_member(text: str, use: Use) -> NamedMember:
    """Return the member that a configuration names for ``use``. Raises ``Wrong`` with a suggestion."""
    steps = text.split(".")
    if not all(map(_STEP.fullmatch, steps)):
        raise Wrong(f"{describe(text)} is not a path", "write names joined by dots, with `[]` for every item of a list")
    head = steps[0].removesuffix(EVERY)
    scope = head if head in _PREFIXES and head not in _KINDS else ""
    if head in _NO_JSON:
        raise Wrong(f"requests to {head} have no members that can be set", f"prefixes are {', '.join(_PREFIXES)}")
    if scope in _FIXED and len(steps) == 1:
        raise Wrong(f"{scope} cannot be changed", _CLIENTS)
    if scope and len(steps) == 1:
        raise Wrong(f"{text} is a prefix", f"add a member, such as `{scope}.temperature`")
    path = parse_steps(text.removesuffix(EVERY))
    member = NamedMember(scope, path[1:] if scope else path, text.partition(".")[2] if scope else text)
    _check_head(member, text, use)
    return member


def _check_head(member: NamedMember, text: str, use: Use) -> None:
    head = member.path[0]
    if head in _client_members_in(member.scope):
        advice = "use `system` for instructions" if head in ("system", "instructions", "systemInstruction") else None
        raise Wrong(f"{head} cannot be changed", advice or _CLIENTS)
    if use != "drop" and _is_tools(member):
        raise Wrong("tools cannot be set", 'tools can only be dropped, or lose members: `drop: ["tools[].strict"]`')
    if not member.scope and head not in _KINDS:
        raise _unknown_member_error(member, text, _KINDS)
    if member.scope in APIS and not _is_known(member.scope, head):
        raise _unknown_member_error(member, text, KNOWN[member.scope].split())
    if member.scope in APIS and len(member.path) > 1:
        _check_inner(member, text)


def _check_inner(member: NamedMember, text: str) -> None:
    """Raise ``Wrong`` for a member that an object does not have, if the object has no others."""
    head, name, *rest = member.path
    inner = INNER[member.scope]
    known = next((names.split() for one, names in inner.items() if head in _names_in(member.scope, one)), None)
    if known is None or name == EVERY or any(name in _names_in(member.scope, one) for one in known):
        return
    suggestion = nearest(name, known)
    if suggestion is not None:
        suggestion = ".".join((member.scope, head, suggestion, *rest))
    raise Wrong(
        f"unknown member {describe(text)}",
        "" if suggestion else f"{head} has {', '.join(known)}; or write {OTHER}.{member.shown}",
        suggestion,
    )


def _names_in(api: str, name: str) -> tuple[str, ...]:
    """Return a member's name in each spelling of ``api``."""
    return (name, snake(name)) if api == "gemini" else (name,)


def _is_tools(member: NamedMember) -> bool:
    head = member.path[0]
    if member.scope == "converse":
        return head == "toolConfig" and member.path[1:2] in ((), ("tools",))
    return head in ("tools", "functions")


def _is_known(api: str, name: str) -> bool:
    return any(name in _names_in(api, known) for known in KNOWN[api].split())


def _client_members_in(scope: str) -> frozenset[str]:
    """Return the members that belong to the client: those of every API for a neutral name or an unknown server."""
    if scope in ("", OTHER):
        return _FIXED - (frozenset(_KINDS) if not scope else frozenset())
    own = _CONVERSATION.get(scope, "").split()
    return frozenset(("model", "stream", *own, *(snake(name) for name in own if scope == "gemini")))


def _unknown_member_error(member: NamedMember, text: str, names: Iterable[str]) -> Wrong:
    """Return the error for an unknown name, with the most similar one of its scope, or the API that has it."""
    head, rest = member.path[0], member.shown.partition(".")[2]
    suggestion = nearest(head, names)
    if suggestion is not None:
        prefix = f"{member.scope}." if member.scope else ""
        suggestion = prefix + suggestion + (f".{rest}" if rest else "")
    elif not member.scope and (having := [api for api in APIS if _is_known(api, head)]):
        suggestion = f"{having[0]}.{text}"
    advice = f"write a name such as temperature, a path such as responses.text.verbosity, or {OTHER}.{member.shown}"
    return Wrong(f"unknown member {describe(text)}", "" if suggestion else advice, suggestion)


def checked_value(member: NamedMember, value: Any) -> Any:
    """Return the value of a neutral name in its type. Raises ``Wrong``.

    The values of other members are sent unchanged. A number that JSON lacks is an error in every member.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(describe(value), "JSON has no such number")
    if (name := member.neutral) is None:
        return value
    kind = _KINDS[name]
    if name in BY_NAME and BY_NAME[name].single and isinstance(value, str):
        return [value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = kind is object or (is_number if kind is float else isinstance(value, kind))
    if not fits or (kind is int and not is_number):
        raise Wrong(describe(value), f"{name} is {_NAMED.get(kind, 'another type')}")
    return value
