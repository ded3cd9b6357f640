"""The members of each API's requests, in the only table that has them.

Settings that several APIs have are rows of ``parameters``; all others are declared here. Other lists of an API's
members follow from these two. Sources: the parameter types of the official SDKs."""

import re
from collections.abc import Mapping
from itertools import product
from typing import Final

import attrs

from providers.neutral.parameters import BY_NAME, ROWS
from streams.events import APIS, Api

SETTINGS: Final[Mapping[Api, str]] = {
    "gemini": "generationConfig", "converse": "inferenceConfig", "interactions": "generation_config",
}  # fmt: skip
"""The members of requests that have the settings; elsewhere the request itself has them."""

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

_OLDER_LIMITS: Final[Mapping[Api, tuple[str, ...]]] = {"chat": ("max_tokens",)}
"""Older names of the limit on output tokens."""


@attrs.frozen(repr=False)
class ApiMembers:
    """The members of an API's requests that are not rows of ``parameters``, as words.

    - ``conversation``: those with the client's words, and those that select earlier ones
    - ``tools``: those with tools; ``with_tools`` and ``hints``: those that providers refuse without tools, and only the
      latter may be omitted
    - ``own``: those that only this API has, and whose values its codec passes unchanged
    - ``more``: all others
    - ``inner``: the members of objects that have no others, by the object's name, without settings"""

    conversation: str
    tools: str
    with_tools: str = ""
    hints: str = ""
    own: str = ""
    more: str = ""
    inner: Mapping[str, str] = attrs.field(factory=dict)


API_MEMBERS: Final[Mapping[Api, ApiMembers]] = {
    "chat": ApiMembers(
        conversation="messages",
        tools="tools functions",
        with_tools="tool_choice function_call",
        hints="parallel_tool_calls",
        more="reasoning reasoning_effort response_format stream_options",
        inner={
            "audio": "format voice",
            "function_call": "name",
            "moderation": "model policy",
            "prediction": "content type",
            "prompt_cache_options": "mode ttl",
            "response_format": "json_schema type",
            "stream_options": "include_obfuscation include_usage",
            "web_search_options": "search_context_size user_location",
        },
    ),
    "messages": ApiMembers(
        conversation="messages system thread compaction",
        tools="tools",
        with_tools="tool_choice",
        own="""
            cache_control container context_management diagnostics fallbacks fallback_credit_token billing_policy
            inference_geo mcp_servers metadata speed user_profile_id workspace_id""",
        more="output_config output_format thinking",
        inner={
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
    ),
    "responses": ApiMembers(
        conversation="input instructions",
        tools="tools",
        with_tools="tool_choice",
        hints="parallel_tool_calls",
        more="access_programs background_options image reasoning stream_options text",
        inner={
            "access_programs": "cyber",
            "background_options": "completion_window continuation_id",
            "image": "context_compression",
            "moderation": "model policy",
            "prompt_cache_options": "comparison_response_id mode prewarm ttl",
            "reasoning": "context effort generate_summary mode summary",
            "stream_options": "include_obfuscation",
            "text": "format verbosity",
        },
    ),
    "gemini": ApiMembers(
        conversation="contents systemInstruction continuationToken",
        tools="tools",
        with_tools="toolConfig",
        own="safetySettings cachedContent labels modelArmorConfig serviceTier store",
        inner={
            "generationConfig": """
                audioTimestamp audioTranscriptionConfig enableAffectiveDialog enableEnhancedCivicAnswers
                mediaResolution modelSelectionConfig responseFormat responseJsonSchema responseMimeType
                responseModalities responseSchema routingConfig speechConfig thinkingConfig translationConfig""",
            "modelArmorConfig": "promptTemplateName responseTemplateName",
        },
    ),
    "converse": ApiMembers(
        conversation="messages system",
        tools="toolConfig",
        own="""
            guardrailConfig promptVariables additionalModelResponseFieldPaths requestMetadata performanceConfig
            serviceTier additionalModelRequestFields""",
        more="outputConfig projectIdentifier",
        inner={
            "guardrailConfig": "guardrailIdentifier guardrailVersion trace",
            "inferenceConfig": "",
            "outputConfig": "effort textFormat",
            "performanceConfig": "latency",
            "serviceTier": "type",
        },
    ),
    "interactions": ApiMembers(
        conversation="input system_instruction previous_interaction_id continuation_token agent",
        tools="tools",
        with_tools="generation_config.tool_choice",
        own="safety_settings labels cached_content",
        more="""
            agent_config background environment response_format response_mime_type response_modalities service_tier
            store webhook_config""",
        inner={
            "environment": "custom_config env environment_id mode network sources type",
            "generation_config": """
                image_config speech_config thinking_level thinking_summaries tool_choice transcription_config
                video_config""",
            "response_format": """
                aspect_ratio bit_rate delivery duration gcs_uri image_size mime_type resolution sample_rate schema
                type""",
            "webhook_config": "uris user_metadata",
        },
    ),
}


def conversation_members(api: Api) -> tuple[str, ...]:
    """Return the members of ``api`` with the client's words, and those that select earlier ones."""
    earlier = (name for row in ROWS if row.selects_words and (name := row.field(api)))
    return (*API_MEMBERS[api].conversation.split(), *earlier)


def tool_members(api: Api) -> tuple[str, ...]:
    """Return the members of ``api`` with tools and the choice of one, in each spelling."""
    words = (*API_MEMBERS[api].tools.split(), *API_MEMBERS[api].with_tools.split())
    return tuple(name for word in words for name in spellings(api, word))


def own_members(api: Api) -> tuple[str, ...]:
    """Return the members that only ``api`` has, and whose values its codec passes unchanged."""
    return tuple(API_MEMBERS[api].own.split())


def other_members(api: Api) -> tuple[str, ...]:
    """Return the members of ``api`` besides the conversation, the model and the stream flag."""
    declared, within = API_MEMBERS[api], SETTINGS.get(api)
    settings = (within,) if within is not None else _setting_names(api)
    with_tools = (name for name in (*declared.with_tools.split(), *declared.hints.split()) if "." not in name)
    settings = (*settings, *_OLDER_LIMITS.get(api, ()))
    words = (*declared.tools.split(), *with_tools, *declared.own.split(), *declared.more.split())
    return tuple(dict.fromkeys((*settings, *words)))


def inner_members(api: Api) -> Mapping[str, tuple[str, ...]]:
    """Return the members of each object that has no others."""
    within = SETTINGS.get(api)
    settings = {within: _setting_names(api)} if within is not None else {}
    return {name: (*settings.get(name, ()), *words.split()) for name, words in API_MEMBERS[api].inner.items()}


def _setting_names(api: Api) -> tuple[str, ...]:
    return tuple(name for row in ROWS if not row.selects_words and (name := row.field(api)))


def setting_paths(name: str, api: Api) -> tuple[str, ...]:
    """Return the paths of a setting's value in requests of ``api``, first the usual one; none without the setting."""
    if not (field := BY_NAME[name].field(api)):
        return ()
    steps = (SETTINGS[api], field) if api in SETTINGS else (field,)
    spelled = product(*(spellings(api, step) for step in steps))
    return (*(".".join(one) for one in spelled), *(_OLDER_LIMITS.get(api, ()) if name == "max_tokens" else ()))


def to_snake(name: str) -> str:
    """Return any name, such as a client's, in snake case."""
    return _CAPITAL.sub("_", name).lower()


def spellings(api: Api, name: str) -> tuple[str, ...]:
    """Return a member's name in each spelling of ``api``: Google's servers read two."""
    return tuple(dict.fromkeys((name, to_snake(name)))) if api == "gemini" else (name,)


OUTPUT_LIMITS: Final[Mapping[Api, tuple[str, ...]]] = {api: setting_paths("max_tokens", api) for api in APIS}
"""The paths of a request's limits on output tokens."""

ANSWER_COUNTS: Final[Mapping[Api, tuple[str, ...]]] = {api: setting_paths("n", api) for api in APIS}
"""The paths of a request's numbers of answers."""
