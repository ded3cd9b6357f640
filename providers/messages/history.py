"""Reader of a client's ``system`` and ``messages``, with the changes that messages make to tools, effort and prompt.

A ``system`` message in the conversation can add and remove tools, set the effort, or have a text that only lasts until
the next user message. A ``compaction`` block replaces everything before it. Source: ``BetaSystemMessageParam`` and
``BetaCompactionBlockParam`` of the anthropic package.
"""

from collections.abc import Iterable, Mapping

import attrs

from providers.messages.adapting import strip_billing_line
from providers.messages.content import BLOCKS, INNER, TOOL_MARKS, read_blocks, read_marks
from providers.neutral.fields import Drops, Fields, join_path
from providers.neutral.request import (
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Part,
    Role,
    TextPart,
    Tool,
    ToolChange,
)
from providers.neutral.tool_changes import changes_of, tool_name
from providers.neutral.values import as_string
from streams.errors import invalid

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
        role = message.need("role", str)
        if role not in _ROLES:
            at = message.path("role")
            raise invalid(f'{at} must be user, assistant or system, not "{role}"', at)
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
        if kind == "tool_reference":
            found = ToolChange(tool.need("name", str), is_added, at=fields.at)
        elif kind == "tool_definition" and is_added:
            definition = read_tool(Fields.of(tool.need("definition", dict), tool.path("definition")), self._drops)
            found = ToolChange(tool_name(definition) or definition.at, is_added, definition, fields.at)
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
