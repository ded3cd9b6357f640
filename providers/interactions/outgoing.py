"""Writer of a ``Request`` as the request for an Interactions provider, with its tools and settings.

``Quirks`` list those that a model accepts. Source: ``CreateModelInteraction``, ``GenerationConfig``, ``Tool``,
``Function`` and ``ToolChoiceConfig`` of the google-genai package.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.gemini.settings import is_enforced, shows_thoughts, thinking_level, write_stop
from providers.gemini.shared_members import INTERACTIONS_TOOLS, TIER_WORDS, interactions_safety, interactions_tool
from providers.gemini.spellings import find_member, snake
from providers.interactions.history import History
from providers.neutral import tool_names
from providers.neutral.api_members import own_members
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import schema_with_description, with_format
from providers.neutral.parameters import write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import NO_MARKS, Format, NativeTool, Request, Tool, ToolChoice
from providers.neutral.schemas import typed_root
from providers.neutral.search_tools import becomes_another, settings_of

SEARCH: Final = "google_search"


@attrs.frozen
class InteractionsTools:
    """The written ``tools`` and ``tool_choice``; ``has_functions`` is true if any tool is the client's own."""

    tools: list[dict[str, Any]]
    choice: Any
    has_functions: bool


def write_tools(request: Request, quirks: Quirks, drops: Drops) -> InteractionsTools:
    functions = [_write_function(tool, request.api, drops) for tool in request.tools if isinstance(tool, Tool)]
    hosted = _write_hosted(request, drops)
    if functions and hosted and not quirks.mixed_tools:
        # If the functions were dropped instead, the model would write its calls as text (cloudwego/eino-ext#761).
        drops.add(*(at for at, _ in hosted.values()))
        hosted = {}
    if request.parallel_tools is not None and request.parallel_tools.value is False and functions:
        drops.add(request.parallel_tools.at)
    choice = _write_choice(request.tool_choice, functions, drops)
    return InteractionsTools([*(item for _, item in hosted.values()), *functions], choice, bool(functions))


def _write_function(tool: Tool, api: str, drops: Drops) -> dict[str, Any]:
    function: dict[str, Any] = {"type": "function", "name": tool.name}
    description, schema = tool_names.as_function(tool, drops)
    if description:
        function["description"] = description
    if isinstance(schema, dict) and schema:
        function["parameters"] = without_empty_required(typed_root(schema))
    if api == "interactions":
        return function | dict(tool.marks)
    drops.add(*(join_path(tool.at, name) for name in tool.marks or NO_MARKS))
    return function


def without_empty_required(schema: Any) -> Any:
    """Return ``schema`` without empty lists ``required``, which Google rejects here (earendil-works/pi#2172)."""
    if isinstance(schema, list):
        return [without_empty_required(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: without_empty_required(value) for name, value in schema.items() if (name, value) != ("required", [])}


def _write_hosted(request: Request, drops: Drops) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return Google's own tools by type, each with the path in the client's request; other APIs' web searches
    become Google's."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for i, tool in enumerate(request.tools):
        if not isinstance(tool, NativeTool):
            continue
        if tool.api == "interactions":
            found[f"{tool.kind} {i}"] = (tool.at, tool.item)
        elif tool.api == "gemini" and (kind := INTERACTIONS_TOOLS.get(tool.kind)) is not None:
            found[kind] = (tool.at, interactions_tool(tool.kind, tool.item.get(tool.kind)))
        elif becomes_another(tool):
            found.setdefault(SEARCH, (tool.at, {"type": SEARCH}))
            drops.add(*settings_of(tool))
        else:
            drops.add(*tool.dropped_places)
    if (search := request.parameters.get("web_search_options")) is not None:
        found.setdefault(SEARCH, (search.at, {"type": SEARCH}))
        drops.add(*(join_path(search.at, name) for name in search.value))
    return found


def _write_choice(choice: ToolChoice | None, functions: list[dict[str, Any]], drops: Drops) -> Any:
    """Return ``tool_choice`` for the provider, ``None`` for its default. A list of allowed tools excludes ``auto``."""
    if choice is None or not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces were all dropped
        return None
    names = {function["name"] for function in functions}
    allowed = (choice.name,) if choice.mode == "tool" else choice.allowed
    kept = [name for name in allowed or () if name in names]
    if choice.mode == "none":
        return "none"
    if allowed is not None and not kept:
        drops.add(choice.at)
        return None
    mode = "auto" if choice.mode == "auto" else "any"
    if not kept:
        return mode
    return {"allowed_tools": {"mode": "validated" if mode == "auto" else mode, "tools": kept}}


_OWN_FIELDS: Final = own_members("interactions")

OWN_SETTINGS: Final = ("speech_config", "image_config", "video_config", "transcription_config")
"""Members of ``generation_config`` that only this API has."""

_SHARED: Final[Mapping[str, str]] = {
    "safety_settings": "safetySettings", "labels": "labels", "cached_content": "cachedContent",
}  # fmt: skip
"""Members of a request by their name in Gemini."""

_SPECIAL_CASES: Final = ("stop", "web_search_options", "service_tier", "store")


def own_fields(request: Request) -> dict[str, Any]:
    """Return the request's members that only Google's APIs have; none if the client speaks another API."""
    if request.api == "interactions":
        return {name: value for name in _OWN_FIELDS if (value := request.source.get(name)) is not None}
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
            drops.add(*reasoning.all_places)
        return {}
    level = thinking_level(reasoning, off, quirks, drops)
    config = {} if level is None else {"thinking_level": level}
    if not off and shows_thoughts(request, reasoning):
        config["thinking_summaries"] = "auto"
    return config


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
    if (word := TIER_WORDS.get(tier.value)) is None:
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


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if not is_own(path, request, own))
    tools = write_tools(request, to.quirks, drops)
    enforced = is_enforced(request.format, tools.has_functions, to.quirks)
    history = History(request, to, drops)
    history.write(with_format(request, enforced, drops))

    body: dict[str, Any] = {"model": to.model, "input": history.steps}
    if history.instructions:
        body["system_instruction"] = "\n\n".join(history.instructions)
    if tools.tools:
        body["tools"] = tools.tools
    if config := generation_config(request, to.quirks, tools.choice, drops):
        body["generation_config"] = config
    if request.format is not None and enforced:
        body["response_format"] = response_format(request.format, drops)
    write_state(request, body, drops)
    if request.stream:
        body["stream"] = True
    body |= own
    drops.remove_members(body, to.quirks.refused_fields)
    return Outgoing(msgspec.json.encode(body), (), losses_of(drops.paths(), "translation"))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """Return ``None``, because the API counts no tokens. See ``Codec.write_count``."""
    return None
