"""Writers of thinking, formats, scalar settings and the members of this API only, for an Interactions request.

``Quirks`` list those that a model accepts. Source: ``GenerationConfig`` and ``CreateModelInteraction`` of the
google-genai package.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.gemini.settings import thinking_level, write_stop
from providers.gemini.shared_members import TIERS, interactions_safety
from providers.gemini.spellings import find_member, snake
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import schema_with_description
from providers.neutral.parameters import write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Reasoning, Request

OWN_FIELDS: Final = ("safety_settings", "labels", "cached_content")
"""Members of a request that only Google's APIs have."""

OWN_SETTINGS: Final = ("speech_config", "image_config", "video_config", "transcription_config")
"""Members of ``generation_config`` that only this API has."""

_SHARED: Final[Mapping[str, str]] = {
    "safety_settings": "safetySettings", "labels": "labels", "cached_content": "cachedContent",
}  # fmt: skip
"""Members of a request by their name in Gemini."""

_SPECIAL_CASES: Final = ("stop", "web_search_options", "service_tier", "store")
_TIER_WORDS: Final = {neutral: word for word, neutral in TIERS.items()}


def own_fields(request: Request) -> dict[str, Any]:
    """Return the request's members that only Google's APIs have; none if the client speaks another API."""
    if request.api == "interactions":
        return {name: value for name in OWN_FIELDS if (value := request.source.get(name)) is not None}
    if request.api != "gemini":
        return {}
    found = {name: find_member(request.source, gemini) for name, gemini in _SHARED.items()}
    found["safety_settings"] = interactions_safety(found["safety_settings"])
    return {name: value for name, value in found.items() if value is not None}


def is_own(path: str, request: Request, own: Mapping[str, Any]) -> bool:
    """Return whether ``own_fields`` or ``generation_config`` already sends the member at ``path``."""
    first, _, rest = path.partition(".")
    if request.api == "interactions" and first == "generation_config":
        return rest.partition(".")[0] in OWN_SETTINGS
    return snake(first.partition("[")[0]) in own


def generation_config(request: Request, quirks: Quirks, choice: Any, drops: Drops) -> dict[str, Any]:
    """Return the ``generation_config`` for the provider: sampling, stop sequences, thinking and the tool choice."""
    config: dict[str, Any] = {}
    if request.api == "interactions":
        own = request.source.get("generation_config") or {}
        config |= {name: own[name] for name in OWN_SETTINGS if own.get(name) is not None}
    write_parameters(request, "interactions", config, drops, skip=_SPECIAL_CASES)
    write_stop(request, "stop_sequences", config, drops)
    config |= _thinking(request, quirks, drops)
    if choice is not None:
        config["tool_choice"] = choice
    return config


def _thinking(request: Request, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    """Return ``thinking_level`` and ``thinking_summaries``."""
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    off = reasoning.mode == "disabled" or reasoning.effort == "none"
    if quirks.thinking_control == "none":
        if not off:
            drops.add(*reasoning.places)
        return {}
    level = thinking_level(reasoning, off, quirks, drops)
    config = {} if level is None else {"thinking_level": level}
    if not off and _is_shown(request, reasoning):
        config["thinking_summaries"] = "auto"
    return config


def _is_shown(request: Request, reasoning: Reasoning) -> bool:
    """Return whether the client receives thoughts: by default in some APIs, in the others on request."""
    if request.api == "messages":
        return (request.source.get("thinking") or {}).get("display") != "omitted"
    return reasoning.summary is not None or request.api not in ("responses", "gemini", "interactions")


def write_state(request: Request, body: dict[str, Any], drops: Drops) -> None:
    """Write ``store`` and ``service_tier``.

    Clients of other APIs send the whole conversation each time, so nothing is stored.
    """
    store, tier = request.parameters.get("store"), request.parameters.get("service_tier")
    if request.api == "interactions":
        body["store"] = store is not None and store.value
    else:
        body["store"] = False
        if store is not None and store.value:
            drops.add(store.at)
    if tier is None or tier.value == "auto":
        return
    if (word := _TIER_WORDS.get(tier.value)) is None:
        drops.add(tier.at)
    elif word != "standard" or request.api == "interactions":
        body["service_tier"] = word


# Structured output


def response_format(format: Format, drops: Drops) -> dict[str, Any]:
    """Return the ``response_format`` for JSON, with the schema if there is one."""
    found: dict[str, Any] = {"type": "text", "mime_type": "application/json"}
    if format.kind == "json_object" or not isinstance(format.schema, Mapping):
        if format.description:  # only a schema can contain it
            drops.add(join_path(format.at, "json_schema.description"))
        return found
    return found | {"schema": schema_with_description(format)}
