"""Valid tool names and call ids for the provider's API, and the way back.

Longer names than 64 characters and names with invalid characters are shortened in a request's tools, history and tool
choice, and restored in the answer's events. Codecs never see it. ``providers.errors.long_tool_names`` does the same for
a client's own request, whose answer ``restore_in_json`` restores.

Custom tools (free text instead of JSON) are functions with one text for APIs without them. The model writes
``{"input": …}``, and the client gets the text. History is converted in the same way, because Codex refuses function
calls for ``apply_patch`` (router-for-me/CLIProxyAPI#5753, BerriAI/litellm#31571).

A client may add and remove tools in the middle of a conversation. Providers without such messages get the tools that
are offered at the end of the history.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.neutral.fields import Drops, join_path
from providers.neutral.request import Message, NativeTool, Part, Request, Tool, ToolCallPart, ToolChange, ToolChoice
from streams.events import Event, ToolCallStart
from streams.surrogates import NOT_JSON

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a function for a custom tool."""

CALLED_BEFORE: Final[Mapping[str, Any]] = {
    "description": "A tool of the conversation so far, which cannot be called now.",
    "inputSchema": {"json": {"type": "object", "properties": {}}},
}
"""Converse's declaration, without a name, of a tool that is only in the history."""


class _Wrapped(msgspec.Struct):
    """A function's arguments, with the member ``patch`` that models use for apply_patch."""

    input: msgspec.Raw = msgspec.Raw()
    patch: msgspec.Raw = msgspec.Raw()


def free_text_tools(request: Request) -> Collection[str]:
    """Return the names of the tools whose input is a text instead of arguments."""
    return {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.kind == "custom"}


def wrap_text(text: str) -> str:
    """Wrap the free text of a custom call as a function's arguments."""
    return msgspec.json.encode({"input": text}).decode()


def unwrap_text(arguments: str) -> str:
    """Return the free text in a function's arguments, also unwrapped or under another name."""
    try:
        value = msgspec.json.decode(arguments, type=_Wrapped | str)
        if isinstance(value, str):
            return value
        return msgspec.json.decode(value.input if len(value.input) else value.patch, type=str)
    except NOT_JSON:
        return arguments


def function_description(tool: Tool, drops: Drops) -> str | None:
    """Return the function's description, with the grammar in words.

    Nothing enforces the grammar, so that it is reported as lost.
    """
    format = tool.format
    if not isinstance(format, dict) or format.get("type") != "grammar":
        return tool.description
    drops.add(join_path(tool.at, "format"))
    rule = f"The input must follow this {format.get('syntax')} grammar:\n{format.get('definition')}"
    return f"{tool.description or ''}\n\n{rule}".strip()


def as_function(tool: Tool, drops: Drops) -> tuple[str | None, Any]:
    """Return the description and schema of ``tool`` as a function."""
    return (function_description(tool, drops), SCHEMA) if tool.kind == "custom" else (tool.description, tool.schema)


AnyTool: TypeAlias = Tool | NativeTool

_DEFERRED = "defer_loading"


def changes_of(messages: Iterable[Message]) -> tuple[ToolChange, ...]:
    return tuple([change for message in messages for change in message.tool_changes])


def apply_changes(
    tools: Sequence[AnyTool], deferred: Iterable[str], changes: Iterable[ToolChange], drops: Drops
) -> tuple[tuple[AnyTool, ...], tuple[Tool, ...]]:
    """Return the tools that are offered after ``changes``, and those of the ``deferred`` names that are not yet.

    New definitions and added deferred tools follow the declared tools in order, so that the tools of earlier requests
    stay in front. A change that refers to an unknown tool is reported as dropped.
    """
    known: dict[Any, AnyTool] = {tool_name(tool) or id(tool): tool for tool in tools}
    later, removed = set(deferred), set[str]()
    for change in changes:
        if change.definition is not None:
            known[change.name] = change.definition
        elif change.name not in known:
            drops.add(change.at)
            continue
        if change.is_added:
            added = known[change.name]
            if (ready := _without_deferral(added)) is not added:
                del known[change.name]
            known[change.name] = ready
            later.discard(change.name)
            removed.discard(change.name)
        else:
            removed.add(change.name)
    offered = tuple(tool for name, tool in known.items() if name not in later and name not in removed)
    waiting = (tool for name, tool in known.items() if name in later and name not in removed)
    return offered, tuple(tool for tool in waiting if isinstance(tool, Tool))


def tool_name(tool: AnyTool) -> str | None:
    """Return the name that the model calls ``tool`` by, or ``None`` for an unnamed one."""
    if isinstance(tool, Tool):
        return tool.name
    holder = tool.item.get(tool.kind) if tool.api == "converse" and isinstance(tool.item, Mapping) else tool.item
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return name if isinstance(name, str) else None


def _without_deferral(tool: AnyTool) -> AnyTool:
    """Return ``tool`` without the mark that it waits for a search."""
    if isinstance(tool, NativeTool) or _DEFERRED not in tool.marks:
        return tool
    return attrs.evolve(tool, marks={name: value for name, value in tool.marks.items() if name != _DEFERRED})


_DIGITS = 24
_LONGEST_ID = 64  # characters (openclaw/openclaw#875, RooCodeInc/Roo-Code#10763)
_ENCODED = "_tg1_"


def replacement_id(prefix: str, id: str) -> str:
    """Return the substitute for ``id``, which is the same for a call and its result.

    ``original_id`` restores short ones: Kimi's models stop if their ids, ``functions.NAME:0``, do not return
    (getkimchi/kimchi#1063, vybestack/llxprt-code#713).
    """
    encoded = base64.urlsafe_b64encode(id.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")
    made = prefix.removesuffix("_") + _ENCODED + encoded
    return made if encoded and len(made) <= _LONGEST_ID else prefix + _hash_id(id)


def original_id(id: str) -> str:
    """Return the id that ``id`` replaces, if it contains it, else ``id``."""
    prefix, _, encoded = id.partition(_ENCODED)
    if not encoded:
        return id
    try:
        text = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        found = text.decode("utf-8", "surrogatepass")
    except ValueError:
        return id
    return found if replacement_id(f"{prefix}_", found) == id else id


def match_ids(ids: Iterable[str], originals: Iterable[str]) -> dict[str, str]:
    """Map those of ``ids`` that equal or replace one of ``originals`` to that original."""
    known = {id: id for id in originals}
    known.update({_hash_id(id): id for id in known})
    found = ((id, known.get(id) or known.get(id[-_DIGITS:])) for id in ids)
    return {id: original for id, original in found if original is not None}


def _hash_id(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_PREFIX_LENGTH = 55  # characters of the name before "_" and 8 digits of its hash


@attrs.frozen(repr=False)
class ToolNaming:
    """The valid names of tools in an API, with the prefixes ``before`` that its models may add in calls.

    ``is_enforced``: every provider of the API rejects other names."""

    fits: re.Pattern[str]
    before: tuple[str, ...] = ()
    is_enforced: bool = False


USUAL = ToolNaming(re.compile(r"[A-Za-z0-9_-]{1,64}"))
STRICT: Final = ToolNaming(re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}"))
"""The names that every API accepts."""

DEFINITIONS: Final = ("tools", "functions", "toolConfig")
"""The members of requests with definitions of tools, in all APIs."""
LONG_NAME: Final = re.compile(rb'name"\s*:\s*"[^"]{65}')
"""Matches a name in JSON that is too long."""


def short_name(name: str, naming: ToolNaming = USUAL) -> str:
    """Return ``name`` if it is valid, else a fixed substitute."""
    if naming.fits.fullmatch(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = f"{_OTHER.sub('_', name)[:_PREFIX_LENGTH]}_{mark}"
    return short if naming.fits.fullmatch(short) else f"_{short[: _PREFIX_LENGTH - 1]}_{mark}"


def short_call_id(id: str) -> str:
    """Return ``id`` if it has OpenAI's 64 characters at most, else a fixed substitute (openclaw/openclaw#875)."""
    if len(id) <= _LONGEST_ID:
        return id
    return replacement_id("call_", id)


def shorten_names(request: Request, naming: ToolNaming = USUAL) -> tuple[Request, Mapping[str, str]]:
    """Return ``request`` with valid tool names, and the client's names by those that an answer may use."""
    names = [tool.name for tool in request.tools if isinstance(tool, Tool)]
    names += [part.name for turn in request.messages for part in turn.parts if isinstance(part, ToolCallPart)]
    own = {name: short for name in names if (short := short_name(name, naming)) != name} if names else {}
    called = _prefixed_names(request, own, naming) if naming.before else {}
    if not own:
        return request, called
    changed = attrs.evolve(
        request,
        tools=tuple(attrs.evolve(tool, name=own.get(tool.name, tool.name)) if isinstance(tool, Tool) else tool
                    for tool in request.tools),
        messages=tuple(
            attrs.evolve(message, parts=tuple(_rename_in_part(part, own) for part in message.parts))
            for message in request.messages
        ),
        tool_choice=_rename_in_choice(request.tool_choice, own),
        declared=(),  # changes in messages have the client's names
    )  # fmt: skip
    return changed, called | {short: name for name, short in own.items()}


def _prefixed_names(request: Request, own: Mapping[str, str], naming: ToolNaming) -> dict[str, str]:
    """Map the prefixed names of tools to the client's own; real names of other tools come first."""
    names = dict.fromkeys(tool.name for tool in request.tools if isinstance(tool, Tool))
    made = {before + own.get(name, name): name for before in naming.before for name in names}
    return {called: name for called, name in made.items() if called not in names}


def restore_name(event: Event, names: Mapping[str, str]) -> Event:
    """Return ``event`` with the client's own tool name."""
    if isinstance(event, ToolCallStart) and event.name in names:
        return attrs.evolve(event, name=names[event.name])
    return event


def restore_in_json(data: bytes, names: Mapping[str, str]) -> bytes:
    """Return JSON with the client's own tool names. Substitutes contain a digest, so nothing else has their text."""
    for short, name in names.items():
        data = data.replace(msgspec.json.encode(short), msgspec.json.encode(name))
    return data


def _rename_in_part(part: Part, own: Mapping[str, str]) -> Part:
    return attrs.evolve(part, name=own[part.name]) if isinstance(part, ToolCallPart) and part.name in own else part


def _rename_in_choice(choice: ToolChoice | None, own: Mapping[str, str]) -> ToolChoice | None:
    if choice is None:
        return None
    allowed = None if choice.allowed is None else tuple(own.get(name, name) for name in choice.allowed)
    return attrs.evolve(choice, name=own.get(choice.name or "", choice.name), allowed=allowed)
