"""Writers of thinking, formats, scalar settings and Gemini's own members for a Gemini request.

``Quirks`` list those that a model accepts. Source: ``GenerationConfig`` of the Gemini API.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.catalog.effort import budget_of, has_unknown_level, requested_level
from providers.gemini.schemas import reduce_schema
from providers.gemini.shared_members import gemini_safety
from providers.gemini.spellings import camel, find_member
from providers.neutral.api_members import own_members
from providers.neutral.choices import MOST, are_translated
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import schema_with_description
from providers.neutral.levels import known_level
from providers.neutral.parameters import BY_NAME, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Reasoning, Request
from streams.errors import invalid

_OWN_FIELDS: Final = own_members("gemini")

OWN_SETTINGS: Final = (
    "responseModalities", "speechConfig", "imageConfig", "mediaResolution", "audioTimestamp", "routingConfig",
    "modelSelectionConfig", "modelConfig", "enableAffectiveDialog", "enableEnhancedCivicAnswers",
)  # fmt: skip
"""Members of ``generationConfig`` that only this API has."""

MOST_STOPS: Final = 5
MOST_LOGPROBS: Final = 20
_DYNAMIC: Final = -1
_SPECIAL_CASES: Final = (
    "stop", "n", "logprobs", "top_logprobs", "modalities", "web_search_options", "service_tier", "store",
)  # fmt: skip
_MODALITIES: Final = ("text", "image")
LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")


_SHARED: Final = ("safetySettings", "cachedContent", "labels")
"""Members that Google's other API has, too."""


def own_fields(request: Request) -> dict[str, Any]:
    """Return the request's members that only Google's APIs have; none if the client speaks another API."""
    if request.api == "interactions":
        found = _pick_members(request.source, _SHARED)
        if "safetySettings" in found:
            found["safetySettings"] = gemini_safety(found["safetySettings"])
        return found
    return _pick_members(request.source, _OWN_FIELDS) if request.api == "gemini" else {}


def is_own(path: str, request: Request, own: Mapping[str, Any]) -> bool:
    """Return whether ``own_fields`` or ``generation_config`` carries the member at ``path``, so that it is not lost."""
    first, _, rest = path.partition(".")
    if camel(first) in own:
        return True
    return request.api == "gemini" and camel(rest.partition(".")[0]) in OWN_SETTINGS


def _pick_members(holder: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := find_member(holder, name)) is not None}


def generation_config(request: Request, quirks: Quirks, enforced: bool, drops: Drops) -> dict[str, Any]:
    """Return ``generationConfig``. ``enforced`` means that it contains the answer's format."""
    config: dict[str, Any] = {}
    if request.api == "gemini":
        config |= _pick_members(find_member(request.source, "generationConfig"), OWN_SETTINGS)
    write_parameters(request, "gemini", config, drops, skip=_SPECIAL_CASES)
    write_stop(request, "stopSequences", config, drops)
    _write_choices(request, config)
    _write_logprobs(request, config, drops)
    _write_modalities(request, config, drops)
    _write_tier(request, drops)
    if enforced and request.format is not None:
        config |= _format_config(request.format, quirks, drops)
    if thinking := thinking_config(request, quirks, drops):
        config["thinkingConfig"] = thinking
    return config


# Scalars


def write_stop(request: Request, member: str, config: dict[str, Any], drops: Drops) -> None:
    """Write the stop strings to ``member``, as many as Google's APIs accept."""
    control = request.parameters.get("stop")
    if control is None:
        return
    stops = [text for text in control.value if isinstance(text, str) and text]
    if stops:
        config[member] = stops[:MOST_STOPS]
    if len(stops) > MOST_STOPS or len(stops) < len(control.value):
        drops.add(control.at)


def _write_choices(request: Request, config: dict[str, Any]) -> None:
    """Write the number of choices. Several are a 400 if the client cannot receive them."""
    control = request.parameters.get("n")
    if control is None or control.value == BY_NAME["n"].default:
        return
    if not are_translated(request.api, "gemini", stream=request.stream):
        message = f"{control.at} must be 1: trigate translates only one choice of a stream"
        raise invalid(message, control.at)
    if not 0 < control.value <= MOST:
        raise invalid(f"{control.at} must be between 1 and {MOST} for this model's provider", control.at)
    config["candidateCount"] = control.value


def _write_modalities(request: Request, config: dict[str, Any], drops: Drops) -> None:
    """Write the kinds of output, such as images, which OpenRouter's clients request. Speech is dropped: a translated
    answer has none."""
    control = request.parameters.get("modalities")
    if control is None or control.value == BY_NAME["modalities"].default:
        return
    if control.value and all(word in _MODALITIES for word in control.value):
        config["responseModalities"] = [word.upper() for word in control.value]
    else:
        drops.add(control.at)


def _write_logprobs(request: Request, config: dict[str, Any], drops: Drops) -> None:
    requested, top = request.parameters.get("logprobs"), request.parameters.get("top_logprobs")
    if (requested is None or not requested.value) and top is None:
        return
    config["responseLogprobs"] = True
    if top is not None and top.value:
        config["logprobs"] = min(top.value, MOST_LOGPROBS)
        if top.value > MOST_LOGPROBS:
            drops.add(top.at)


def _write_tier(request: Request, drops: Drops) -> None:
    for name, plain in (("service_tier", ("auto", "default", "standard")), ("store", (False,))):
        control = request.parameters.get(name)
        if control is not None and control.value not in plain and request.api != "gemini":
            drops.add(control.at)


# Thinking


def thinking_config(request: Request, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    """Return ``thinkingConfig``: a level or a budget, never both (juspay/neurolink#1707, QwenLM/qwen-code#9094)."""
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    if quirks.thinking_control == "none":
        if reasoning.mode != "disabled" and reasoning.effort != "none":
            drops.add(*reasoning.all_places)
        return {}
    off = reasoning.mode == "disabled" or reasoning.effort == "none"
    if quirks.thinking_control == "budget":
        config = _budget_config(reasoning, off, quirks, drops)
    else:
        level = thinking_level(reasoning, off, quirks, drops)
        config = {} if level is None else {"thinkingLevel": level}
    if not off and shows_thoughts(request, reasoning):
        config["includeThoughts"] = True
    return config


def shows_thoughts(request: Request, reasoning: Reasoning) -> bool:
    """Return whether the client receives thoughts: by default in some APIs, in the others on request."""
    if request.api == "messages":
        return (request.source.get("thinking") or {}).get("display") != "omitted"
    return reasoning.summary is not None or request.api not in ("responses", "gemini", "interactions")


def _budget_config(reasoning: Reasoning, off: bool, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    least, most = quirks.thinking_budgets
    if off:
        if quirks.thinking_off == "lowest_effort":
            drops.add(*reasoning.places)
        return {"thinkingBudget": least if quirks.thinking_off == "lowest_effort" else 0}
    if reasoning.budget is None and reasoning.effort is None:
        return {"thinkingBudget": _DYNAMIC}
    requested = budget_of(reasoning)
    if has_unknown_level(reasoning) if reasoning.budget is None else requested > most:
        drops.add(*reasoning.places)
    return {"thinkingBudget": min(max(requested, least), most)}


def thinking_level(reasoning: Reasoning, off: bool, quirks: Quirks, drops: Drops) -> str | None:
    """Return the level of thinking for the model, ``None`` for its default. ``off`` is the lowest one."""
    known = quirks.thinking_levels or LEVELS
    if off:
        if known[0] != "minimal":
            drops.add(*reasoning.places)
        return known[0]
    requested = requested_level(reasoning)
    wanted = None if requested is None else known_level(requested, LEVELS)
    level = None if wanted is None else known_level(wanted, known)
    if level is None or level not in known:
        if has_unknown_level(reasoning):
            drops.add(*reasoning.places)
        return None
    if level != wanted:
        drops.add(*reasoning.places)
    return level


# Structured output


def is_enforced(format: Format | None, functions: bool, quirks: Quirks) -> bool:
    """Return whether the model enforces ``format``.

    Models before Gemini 3 do not with functions ("Function calling with a response mime type … is unsupported";
    symfony/ai#803).
    """
    return format is not None and (quirks.mixed_tools or not functions)


def _format_config(format: Format, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if format.kind == "json_object" or not isinstance(format.schema, Mapping):
        if format.description:  # only a schema can contain it, which Chat clients may omit
            drops.add(join_path(format.at, "json_schema.description"))
        return config
    schema = schema_with_description(format)
    if quirks.schemas == "json":
        return config | {"responseJsonSchema": schema}
    smaller, removed = reduce_schema(schema)
    drops.add(*(join_path(format.at, name) for name in removed))
    return config | {"responseSchema": smaller}
