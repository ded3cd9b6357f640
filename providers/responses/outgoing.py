"""Writer of a ``Request`` as the body of a Responses request; ``items`` writes its input.

Source: the parameter types of the openai package (``openai/types/responses/response_create_params.py``).
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import msgspec

from providers.catalog.effort import accepts_sampling, requested_level
from providers.catalog.strict import fits_strict, provider_strict
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of
from providers.neutral.fields import Drops
from providers.neutral.levels import known_level
from providers.neutral.parameters import BY_NAME, drop_moderation, write_parameters
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Format,
    Message,
    NativeTool,
    Parameter,
    Reasoning,
    Request,
    TextPart,
    Tool,
    ToolChoice,
)
from providers.neutral.search_tools import find_search, is_search, read_search, write_form
from providers.responses.items import count_instructions, write_items
from providers.responses.settings import ENCRYPTED, LOGPROBS, SOURCES
from streams.errors import invalid
from streams.events import ToolKind

Object: TypeAlias = dict[str, Any]

NO_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}}


def write_tools(request: Request, body: Object, drops: Drops) -> None:
    """Write tools, tool choice and parallel calls; OpenAI rejects the latter two without tools."""
    tools = [item for tool in request.tools if (item := _write_tool(tool, request, drops)) is not None]
    if "web_search_options" in request.parameters and (search := find_search(request)) is not None:
        tools.append(write_form("responses", search, drops))
    choice, requested = None, request.tool_choice
    if requested is not None:
        choice = _write_tool_choice(requested, request, tools)
        demands = request.has_tools and (requested.mode in ("required", "tool") or requested.allowed is not None)
        if choice is None and (demands or requested.hosted):
            drops.add(requested.at)  # the tools that it refers to are not offered
    if not tools:
        return
    body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools.value


def _write_tool(tool: Tool | NativeTool, request: Request, drops: Drops) -> Object | None:
    if isinstance(tool, NativeTool):
        return _write_native(tool, drops)
    if tool.native is not None and request.api == "responses":
        return dict(tool.native) or None
    item: Object = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        item["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            item["format"] = tool.format
    else:
        item["parameters"] = NO_SCHEMA if tool.schema is None else tool.schema
        if tool.strict is not None or request.api != "responses":
            # The default is true in this API but false in the others.
            item["strict"] = bool(provider_strict(tool, request.api, drops))
    if request.api == "responses":
        return {**item, **tool.marks}
    drops.add(*(f"{tool.at}.{mark}" for mark in tool.marks))
    return item


def _write_native(tool: NativeTool, drops: Drops) -> Object | None:
    if tool.api == "responses":
        return dict(tool.item)
    if is_search(tool):
        return write_form("responses", read_search(tool), drops)
    drops.add(*tool.dropped_places)
    return None


def _write_tool_choice(choice: ToolChoice, request: Request, tools: list[Object]) -> str | Object | None:
    """Return the choice, or ``None`` if it only refers to missing tools."""
    if not tools:
        return None
    kinds: dict[str, ToolKind] = {tool.name: tool.kind for tool in request.tools if isinstance(tool, Tool)}
    hosted = [dict(tool) for tool in choice.hosted]
    if choice.mode == "tool":
        return _write_forced_tool(choice.name or "", kinds, tools)
    if choice.allowed is None or choice.mode == "none":
        return hosted[0] if hosted else choice.mode
    allowed = [{"type": kinds[name], "name": name} for name in choice.allowed if name in kinds] + hosted
    return {"type": "allowed_tools", "mode": choice.mode, "tools": allowed} if allowed else None


def _write_forced_tool(name: str, kinds: Mapping[str, ToolKind], tools: list[Object]) -> Object | None:
    if name in kinds:
        return {"type": kinds[name], "name": name}
    if any(tool["type"] == name for tool in tools):  # Anthropic refers to server tools by name, like functions
        return {"type": "allowed_tools", "mode": "required", "tools": [{"type": name}]}
    return None


MINIMUM_TOKENS = 16  # the minimum of `max_output_tokens`
CONTINUES = ("previous_response_id", "conversation", "prompt")  # any of them may replace `input`
PHASES = ("input[].phase", "previous.input[].phase")
PENALTIES = ("frequency_penalty", "presence_penalty")
SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs", *PENALTIES)

COUNT_FIELDS = frozenset(
    (
        "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text",
        "truncation",
    )
)  # fmt: skip
"""The members of a request that OpenAI's token count accepts."""

# Settings that are not a single value here, or that some models reject.
SPECIAL_CASES = (*SAMPLING, "max_tokens", "verbosity", "store", "include", "web_search_options", "prompt_cache_options")


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the request for a Responses provider.

    Raises a 400 ``GatewayError`` for members that the provider cannot honour and that must not be dropped.
    """
    drops = Drops(_dropped_paths(request))
    count = count_instructions(request, to)
    body: Object = {"model": to.model}
    if instructions := _write_instructions(request.messages[:count], drops):
        body["instructions"] = instructions
    items = write_items(request, request.messages[count:], to, drops)
    if items or not any(name in request.parameters for name in CONTINUES):
        body["input"] = items
    write_tools(request, body, drops)
    _write_settings(request, to.quirks, body, drops)
    body["stream"] = request.stream
    drop_moderation(body, to.quirks.refused_fields, to.known.moderation, drops)
    drops.remove_members(body, to.quirks.refused_fields)
    return Outgoing(msgspec.json.encode(body), edits=losses_of(drops.paths(), "translation"))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """Return ``request`` limited to the members that OpenAI's token count accepts. Raises as ``write_request`` does.

    Only for this API's own clients, because a translated request would be sent twice.
    """
    if request.api != "responses":
        return None
    outgoing = write_request(request, to)
    members = msgspec.json.decode(outgoing.body, type=dict[str, msgspec.Raw])
    counted = {name: raw for name, raw in members.items() if name in COUNT_FIELDS}
    return attrs.evolve(outgoing, body=msgspec.json.encode(counted))


def _dropped_paths(request: Request) -> Iterator[str]:
    """Yield the dropped paths of the request, except for those that this API can express: hosted tools of a choice, and
    phases of earlier answers."""
    hosted = request.tool_choice is not None and bool(request.tool_choice.hosted)
    for path in request.dropped:
        if not (path in PHASES or (hosted and path.partition(".")[0] == "tool_choice")):
            yield path


def _write_instructions(turns: tuple[Message, ...], drops: Drops) -> str:
    texts = []
    for turn in turns:
        if turn.name is not None:
            drops.add(f"{turn.at}.name")
        for part in turn.parts:
            if isinstance(part, TextPart) and part.text:
                texts.append(part.text)
                drops.add(*(f"{part.at}.{mark}" for mark in part.marks))
    return "\n\n".join(texts)


def _write_settings(request: Request, quirks: Quirks, body: Object, drops: Drops) -> None:
    write_parameters(request, "responses", body, drops, skip=SPECIAL_CASES)
    level = _write_reasoning(request.reasoning, quirks, body, drops)
    logprobs = _write_sampling(request, quirks, level, body, drops)
    _write_limit(request, quirks, body)
    text = {} if request.format is None else {"format": _write_format(request.format, request)}
    if (verbosity := request.parameters.get("verbosity")) is not None:
        text["verbosity"] = verbosity.value
    if text:
        body["text"] = text
    _write_state(request, quirks, logprobs, body)


def _write_limit(request: Request, quirks: Quirks, body: Object) -> None:
    """Write the token limit and cache options.

    Messages' limit of 0 only warms the cache; if the model cannot, that is a 400, because a paid answer is no
    substitute.
    """
    limit, options = request.parameters.get("max_tokens"), request.parameters.get("prompt_cache_options")
    if options is not None:
        body["prompt_cache_options"] = options.value
    if limit is None:
        return
    if limit.value != 0:
        body["max_output_tokens"] = max(limit.value, MINIMUM_TOKENS)
    elif quirks.cache_breakpoints:
        body["prompt_cache_options"] = {**body.get("prompt_cache_options", {}), "prewarm": True}
    else:
        raise invalid(f"{limit.at}: this model's provider cannot warm its cache without a response", limit.at)


# Reasoning


def _write_reasoning(reasoning: Reasoning | None, quirks: Quirks, body: Object, drops: Drops) -> str | None:
    """Write ``reasoning`` and return the level of effort.

    A level that the model lacks becomes the nearest lower one and is reported.
    """
    if reasoning is None:
        return None
    requested = requested_level(reasoning)
    if requested is None and reasoning.mode == "disabled":
        requested = "none"
        level = requested if requested in quirks.efforts else None  # not every model can leave thinking out
    else:
        level = None if requested is None else known_level(requested, quirks.efforts)
    if level != requested:
        drops.add(*reasoning.places)
    found = {"effort": level, "summary": reasoning.summary.value if reasoning.summary else None}
    if found := {name: value for name, value in found.items() if value is not None}:
        body["reasoning"] = found
    return level


def _write_sampling(request: Request, quirks: Quirks, level: str | None, body: Object, drops: Drops) -> bool:
    """Write sampling settings, and return whether log probabilities are requested.

    Settings that the model rejects are dropped and reported unless they have their defaults (truefoundry/models#2122).
    """
    controls = {name: control for name in SAMPLING if (control := request.parameters.get(name)) is not None}
    if request.api != "responses":
        _drop_penalties(controls, drops)
    if not accepts_sampling(quirks, level):
        drops.add(*(c.at for name, c in controls.items() if c.value != BY_NAME[name].default))
        return False
    if quirks.one_of_temperature_top_p and "temperature" in controls and "top_p" in controls:
        drops.add(controls.pop("top_p").at)
    logprobs = controls.pop("logprobs", None)
    body.update({name: control.value for name, control in controls.items()})
    return logprobs is not None and bool(logprobs.value)


def _drop_penalties(controls: dict[str, Parameter], drops: Drops) -> None:
    """Remove penalties.

    Open Responses has them, OpenAI's API does not (openai/openai-python#3040), and only a client of this API can know
    whether its provider accepts them.
    """
    penalties = {name: controls.pop(name) for name in PENALTIES if name in controls}
    drops.add(*(control.at for name, control in penalties.items() if control.value != BY_NAME[name].default))


# State and form


def _write_state(request: Request, quirks: Quirks, logprobs: bool, body: Object) -> None:
    """Write ``store`` and ``include``.

    Clients of other APIs send the whole conversation each time, so nothing is stored unless they request it, and
    reasoning survives only as ``encrypted_content``.
    """
    store = request.parameters.get("store")
    if store is not None or request.api != "responses":
        body["store"] = store is not None and store.value
    requested = request.parameters.get("include")
    include = list(requested.value) if requested is not None else []
    if _wants_encrypted(request, quirks):
        include.append(ENCRYPTED)
    if logprobs:
        include.append(LOGPROBS)
    if _wants_sources(request, quirks):
        include.append(SOURCES)
    if include:
        body["include"] = include


def _wants_sources(request: Request, quirks: Quirks) -> bool:
    """Return whether to request the sources of searches. Other APIs always list them."""
    if request.api == "responses":
        return SOURCES in (request.source.get("include") or ())
    return quirks.web_search == "tool" and find_search(request) is not None


def _wants_encrypted(request: Request, quirks: Quirks) -> bool:
    """Return whether to request encrypted reasoning.

    Models without reasoning reject it. A Responses client with stored responses gets it only on request, because it
    relies on a provider that stores the reasoning.
    """
    if request.api == "responses" and ENCRYPTED in (request.source.get("include") or ()):
        return True
    if request.api == "responses" and request.source.get("store") is not False:
        return False
    if request.reasoning is None:
        return bool(quirks.efforts)
    return request.reasoning.mode != "disabled"


def _write_format(format: Format, request: Request) -> Object:
    """Return the text format.

    Messages has no ``strict``, but always enforces formats, so ``strict`` is set if the schema supports it.
    """
    if format.kind == "json_object":
        return {"type": "json_object"}
    schema = {} if format.schema is None else format.schema  # Chat's is optional, this API's is not
    item: Object = {"type": "json_schema", "name": format.name or "output", "schema": schema}
    if format.description is not None:
        item["description"] = format.description
    strict = format.strict
    if strict is None and request.api == "messages" and fits_strict(format.schema):
        strict = True
    if strict is not None:
        item["strict"] = strict
    return item
