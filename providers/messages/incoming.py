"""Reader of a client's Messages request into a ``Request``, for providers of other APIs.

Requests for a Messages provider are forwarded instead. Source: the parameter types of the anthropic package
(``MessageCreateParams`` and its beta version) and requests of Claude Code.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from providers.messages.adapting import referenced_tools, uses_hosted_search
from providers.messages.history import History, read_tool
from providers.neutral.fields import Drops, Fields
from providers.neutral.parameters import read_parameters
from providers.neutral.request import Format, NativeTool, Parameter, Reasoning, Request, Tool, ToolChoice
from providers.neutral.tool_changes import apply_changes
from streams.errors import GatewayError, invalid

# Members of this API only; a Messages provider receives them unchanged.
OWN_FIELDS = (
    "cache_control", "container", "context_management", "diagnostics", "fallbacks", "fallback_credit_token",
    "billing_policy", "inference_geo", "mcp_servers", "metadata", "service_tier", "speed", "user_profile_id",
    "workspace_id",
)  # fmt: skip

_CHOICES: Mapping[str, Any] = {"auto": "auto", "any": "required", "tool": "tool", "none": "none"}
_SHOWN = ("summarized", "updates", "highlights")
"""The values of ``thinking.display`` that show some of the thinking."""

_USER_ID_LENGTH = 64  # OpenAI's limit


def read_request(body: Mapping[str, Any]) -> Request:
    """Return ``body`` as a ``Request``.

    Raises ``GatewayError`` (400, with ``param``) for invalid members, for ``compaction``, which only Anthropic
    supports, and for a ``thread`` that no state storage has resolved before.
    """
    Fields(body).need("max_tokens", int)
    if body.get("compaction") is not None:
        raise invalid("compaction is not supported by this model's provider: remove it", "compaction")
    return read_count_request(body)


def read_count_request(body: Mapping[str, Any]) -> Request:
    """Return the ``body`` of ``POST /v1/messages/count_tokens`` as a ``Request``; it needs no ``max_tokens``.

    Raises as ``read_request`` does, but accepts ``compaction``: Anthropic ignores it here.
    """
    fields = Fields(body)
    if fields.value("thread") is not None:
        raise thread_unsupported()
    fields.ignore("compaction")
    drops = Drops()
    history = History(fields, drops)
    messages = history.messages
    declared = tuple(read_tool(tool, drops) for tool in fields.objects("tools"))
    tools, deferred = _offered_tools(declared, fields, history, drops)
    choice, parallel = _read_choice(fields, drops)
    config = fields.object("output_config")
    reasoning = _read_reasoning(fields, config, history, drops)
    format = _read_format(fields, config, drops)
    if config is not None:
        drops.add_unread(config)
    parameters = _read_settings(fields, drops)
    if history.sealed is not None:
        parameters["sealed_summary"] = history.sealed
    model, stream = fields.string("model") or "", fields.boolean("stream") or False
    drops.add_unread(fields)
    return Request(
        "messages", model, messages, stream, tools=tools, tool_choice=choice, parallel_tools=parallel,
        reasoning=reasoning, format=format, parameters=parameters, source=body, dropped=drops.paths(),
        deferred=deferred, declared=declared if history.tool_changes else (),
    )  # fmt: skip


def thread_unsupported() -> GatewayError:
    """Return the error for a ``thread`` that cannot be resolved.

    Anthropic's tool runner reads these details and repeats the request with the whole history; without them it gives
    up.
    """
    return GatewayError(
        "invalid_request", "thread is not supported by this model's provider: send the whole conversation",
        param="thread", details={"error_code": "thread_unsupported_request", "unsupported": ["thread"]},
    )  # fmt: skip


# Tools


def _offered_tools(
    tools: tuple[Tool | NativeTool, ...], fields: Fields, history: History, drops: Drops
) -> tuple[tuple[Tool | NativeTool, ...], tuple[Tool, ...]]:
    """Return the tools that are offered at the end of the history, and the deferred ones that the client's own search
    has not found yet.

    Sending the latter would use the tokens that the client wants to save (anthropics/claude-code#89211). If the client
    relies on Anthropic's search, no provider of another API can run it, so all tools are sent. Found tools follow the
    others in the order of their discovery, so that the tools of earlier requests stay in front.
    """
    later = {tool.name for tool in tools if isinstance(tool, Tool) and tool.marks.get("defer_loading")}
    if later and uses_hosted_search(fields.data["tools"]):
        later.clear()
    if later:
        found = {name: at for name, at in referenced_tools(fields.data["messages"]).items() if name in later}
        tools = tuple(sorted(tools, key=lambda tool: found.get(tool.name, -1) if isinstance(tool, Tool) else -1))
        later -= found.keys()
    changes = history.tool_changes
    return apply_changes(tools, later, changes, drops) if later or changes else (tools, ())


def _read_choice(fields: Fields, drops: Drops) -> tuple[ToolChoice | None, Parameter | None]:
    choice = fields.object("tool_choice")
    if choice is None:
        return None, None
    kind = choice.need("type", str)
    if kind not in _CHOICES:
        at = choice.path("type")
        raise invalid(f'{at} must be auto, any, tool or none, not "{kind}"', at)
    name = choice.need("name", str) if kind == "tool" else None
    serial = choice.boolean("disable_parallel_tool_use")
    parallel = Parameter(False, choice.path("disable_parallel_tool_use")) if serial else None
    drops.add_unread(choice)
    return ToolChoice(_CHOICES[kind], name, at=choice.at), parallel


# Settings


def _read_reasoning(fields: Fields, config: Fields | None, history: History, drops: Drops) -> Reasoning | None:
    thinking = fields.object("thinking")
    effort = config.string("effort") if config is not None else None
    effort, at = (effort, None) if history.effort is None else (history.effort.value, history.effort.at)
    if thinking is None:
        # Effort without thinking is valid; the model then decides whether to think.
        return None if effort is None else Reasoning("adaptive", effort, at=at or "output_config.effort", effort_at=at)
    kind = thinking.need("type", str)
    budget, summary = thinking.integer("budget_tokens"), _read_display(thinking, drops)
    drops.add_unread(thinking)
    match kind:
        case "disabled":
            return Reasoning("disabled", at=thinking.at)
        case "enabled":
            return Reasoning("enabled", effort, budget, summary, thinking.at, at)
        case "adaptive" | "between_tools":
            return Reasoning("adaptive", effort, None, summary, thinking.at, at)
    at = thinking.path("type")
    raise invalid(f'{at} must be enabled, adaptive, between_tools or disabled, not "{kind}"', at)


def _read_display(thinking: Fields, drops: Drops) -> str | None:
    """Return the summary that ``display`` requests, if any."""
    display = thinking.string("display")
    if display in (None, "omitted"):
        return None
    if display not in _SHOWN:
        drops.add(thinking.path("display"))
        return None
    return "auto"


def _read_format(fields: Fields, config: Fields | None, drops: Drops) -> Format | None:
    # The beta had `output_format` at the top level; older SDKs still send it.
    format = (config.object("format") if config is not None else None) or fields.object("output_format")
    if format is None:
        return None
    if (kind := format.need("type", str)) != "json_schema":
        at = format.path("type")
        raise invalid(f'{at} must be json_schema, not "{kind}"', at)
    schema = format.need("schema", dict)
    drops.add_unread(format)
    return Format("json_schema", schema=schema, at=format.at)


def _read_settings(fields: Fields, drops: Drops) -> dict[str, Parameter]:
    parameters = read_parameters(fields, "messages")
    tier = parameters.get("service_tier")
    if tier is not None and tier.value != "auto":  # other APIs have no `standard_only`
        del parameters["service_tier"]
        drops.add(tier.at)
    if (metadata := fields.object("metadata")) is not None:
        if user := metadata.string("user_id"):
            if len(user) > _USER_ID_LENGTH or user.startswith("{"):  # Claude Code's (maximhq/bifrost#1000)
                user = hashlib.sha256(user.encode()).hexdigest()
            parameters["user"] = Parameter(user, metadata.path("user_id"))
        drops.add_unread(metadata)
    return parameters
