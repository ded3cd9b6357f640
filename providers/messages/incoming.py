"""Reader of a client's Messages request into a ``Request``, for providers of other APIs.

Requests for a Messages provider are forwarded instead. Source: the parameter types of the anthropic package
(``MessageCreateParams`` and its beta version) and requests of Claude Code.

A ``system`` message in the conversation can add and remove tools, set the effort, or have a text that only lasts until
the next user message. A ``compaction`` block replaces everything before it (``BetaSystemMessageParam`` and
``BetaCompactionBlockParam``).
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from providers.messages.adapting import referenced_tools, strip_billing_line, uses_hosted_search
from providers.messages.content import BLOCKS, INNER, TOOL_MARKS, read_blocks, read_marks
from providers.neutral.fields import Drops, Fields, join_path
from providers.neutral.parameters import read_parameters
from providers.neutral.request import (
    Format,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Part,
    Reasoning,
    Request,
    Role,
    TextPart,
    Tool,
    ToolChange,
    ToolChoice,
)
from providers.neutral.tool_names import apply_changes, changes_of, tool_name
from providers.neutral.values import as_string
from streams.errors import GatewayError, invalid

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_CHANGES: Mapping[str, bool] = {"tool_addition": True, "tool_removal": False}
_COMPACTION = "compaction"
_UNTIL_USER = "next_user_message"

SUMMARY = "The conversation so far was compacted. This is its summary:\n\n"
"""The introduction of a compaction's summary, which a user message carries, because no other API has such a block."""


def read_tool(fields: Fields, drops: Drops) -> Tool | NativeTool:
    """Return one of the client's own tools, or a tool that runs at its provider."""
    kind = fields.string("type")
    if kind not in (None, "custom"):
        return NativeTool("messages", kind, fields.data, fields.at)
    tool = Tool(
        fields.need("name", str), fields.string("description"), fields.value("input_schema"),
        strict=fields.boolean("strict"), at=fields.at, marks=read_marks(fields, TOOL_MARKS),
    )  # fmt: skip
    drops.add_unread(fields)
    return tool


class History:
    """The read messages of one request.

    ``effort`` is the last one that a message sets, ``sealed`` a summary that only Anthropic can read.
    """

    def __init__(self, fields: Fields, drops: Drops) -> None:
        """Read the messages in ``fields``. Raises a 400 with the path of an invalid member."""
        self.effort: Parameter | None = None
        self.sealed: Parameter | None = None
        self._drops = drops
        self._messages: list[Message] = []
        self._until_user: list[int] = []  # positions of messages whose text the next user message removes
        self._system = _read_system(fields, drops)
        if not fields.need("messages", list):
            raise invalid("messages must have at least one message", "messages")
        for message in fields.objects("messages"):
            self._read_message(message)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages, starting with the instructions."""
        return (*self._system, *self._messages)

    @property
    def tool_changes(self) -> tuple[ToolChange, ...]:
        return changes_of(self._messages)

    def _read_message(self, message: Fields) -> None:
        role = message.need_word("role", _ROLES, "user, assistant or system")
        if role == "user":  # texts that were valid until now end; changes of tools and effort stay
            for i in self._until_user:
                self._messages[i] = attrs.evolve(self._messages[i], parts=())
            self._until_user.clear()
        content, at = message.value("content"), message.path("content")
        has_settings = role == "system" and self._read_settings(message)
        if content is None and not has_settings:
            raise invalid(f"{at} is required", at)
        parts: list[Part] = [TextPart(content, at)] if isinstance(content, str) else []
        if content is not None and not parts:
            parts = read_blocks(content, at, BLOCKS, self._drops)
        self._drops.add_unread(message)
        self._add(_ROLES[role], parts, message.at)

    def _read_settings(self, message: Fields) -> bool:
        """Read the settings of a ``system`` message. Return whether it has any, so that it needs no content."""
        config, clear_at = message.object("output_config"), message.string("clear_at")
        if config is not None:
            if (effort := config.string("effort")) is not None:
                self.effort = Parameter(effort, config.path("effort"))
            self._drops.add_unread(config)
        if clear_at == _UNTIL_USER:
            self._until_user.append(len(self._messages))
        elif clear_at not in (None, "never"):
            self._drops.add(message.path("clear_at"))
        return bool(config is not None and config.data) or clear_at is not None

    # Parts with an effect on the rest of the request

    def _add(self, role: Role, parts: Iterable[Part], at: str) -> None:
        """Add the message at ``at`` with its ``parts``, from the last compaction in them on."""
        kept: list[Part] = []
        changes: list[ToolChange] = []
        for part in parts:
            kind = part.kind if isinstance(part, NativePart) else ""
            if isinstance(part, NativePart) and kind in _CHANGES:
                changes += self._read_change(Fields(part.item, part.at))
            elif isinstance(part, NativePart) and kind == _COMPACTION:
                if self._compact(Fields(part.item, part.at), changes):
                    kept, changes = [], []
                elif sealed := part.item.get("encrypted_content"):
                    self.sealed = Parameter(sealed, join_path(part.at, "encrypted_content"))
                    kept.append(part)
            else:
                kept.append(part)
        self._messages.append(Message(role, tuple(kept), at, tool_changes=tuple(changes)))

    def _read_change(self, fields: Fields) -> list[ToolChange]:
        """Return the change of a tool, or nothing for tools of an MCP server, which other APIs do not have."""
        is_added = _CHANGES[fields.need("type", str)]
        tool = Fields.of(fields.need("tool", dict), fields.path("tool"))
        kind = tool.need("type", str)
        if kind == "tool_definition" and is_added:
            definition = read_tool(Fields.of(tool.need("definition", dict), tool.path("definition")), self._drops)
            found = ToolChange(tool_name(definition) or definition.at, is_added, definition, fields.at)
        elif kind == "tool_reference" or ("name" in tool.data and "server_name" not in tool.data):
            found = ToolChange(tool.need("name", str), is_added, at=fields.at)
        else:
            self._drops.add(fields.at)
            return []
        self._drops.add_unread(tool)
        self._drops.add_unread(fields)
        return [found]

    def _compact(self, fields: Fields, changes: list[ToolChange]) -> bool:
        """Replace everything so far by the summary of a compaction; return false if it has no readable one.

        ``changes`` are those of the message so far.
        """
        content = fields.string("content")
        if not content:
            return False
        earlier = (*changes_of(self._messages), *changes)
        if fields.data.get("tool_changes") is not None:
            earlier = tuple(
                change
                for block in fields.objects("tool_changes")
                if as_string(block.data.get("type")) in _CHANGES
                for change in self._read_change(block)
            )
        self._messages = [Message("user", (TextPart(SUMMARY + content, fields.at),), fields.at, tool_changes=earlier)]
        self._until_user.clear()
        self.sealed = None
        fields.ignore("type", "encrypted_content", "signature")
        self._drops.add_unread(fields)
        return True


def _read_system(fields: Fields, drops: Drops) -> tuple[Message, ...]:
    value = fields.value("system")
    if value is None:
        return ()
    parts = [TextPart(value, "system")] if isinstance(value, str) else read_blocks(value, "system", INNER, drops)
    if parts and isinstance(first := parts[0], TextPart) and (rest := strip_billing_line(first.text)) is not None:
        drops.add("system" if isinstance(value, str) else "system[]")
        parts[:1] = [attrs.evolve(first, text=rest)] if rest else []
    return (Message("system", tuple(parts), "system"),) if parts else ()


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
    kind = choice.need_word("type", _CHOICES, "auto, any, tool or none")
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


def _read_display(thinking: Fields, drops: Drops) -> Parameter | None:
    """Return the summary that ``display`` requests, if any."""
    display, at = thinking.string("display"), thinking.path("display")
    if display in (None, "omitted"):
        return None
    if display not in _SHOWN:
        drops.add(at)
        return None
    return Parameter("auto", at)


def _read_format(fields: Fields, config: Fields | None, drops: Drops) -> Format | None:
    # The beta had `output_format` at the top level; older SDKs still send it.
    format = (config.object("format") if config is not None else None) or fields.object("output_format")
    if format is None:
        return None
    format.need_word("type", ("json_schema",), "json_schema")
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
