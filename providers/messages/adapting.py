"""Edits of a Messages client's request for a Messages server other than Anthropic's, or for another model.

Removes Claude Code's billing line and deferred tools, and lowers the effort. Sampling settings stay, because the model
rows only guess them for future Claude models. If a provider rejects the client's own value, the gateway learns it
(``providers/errors/rejected.py``).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from providers.catalog.effort import lower_effort
from providers.neutral.codec import Recipient
from providers.neutral.draft import Changes, Draft, change_messages, each_block
from providers.neutral.quirks import Quirks
from providers.neutral.schemas import adapt_schemas
from providers.neutral.seal import PREFIX, Issuer, Seal, unseal
from providers.neutral.searches import read_item
from providers.neutral.values import as_object, as_objects, as_string

Object: TypeAlias = Mapping[str, Any]

MARKS = (b"x-anthropic-billing-header", b'"defer_loading"', b'"tool_reference"')
"""Byte strings that occur in every request that needs such edits."""

SEARCH = "tool_search_"
"""The prefix of the types of Anthropic's own search tools."""

# Claude Code's first system block changes with every request. If it stayed, no two prompts would share a prefix, and no
# cache would ever hit (anthropics/claude-code#68900, vllm-project/vllm#36829).
_BILLING = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")


def strip_billing_line(text: str) -> str | None:
    """Return ``text`` without its billing line, or ``None`` if it does not start with one."""
    line = _BILLING.match(text)
    return None if line is None else text[line.end() :]


_NAME_MEMBERS = {"tool_reference": "tool_name", "tool_use": "name"}
"""By type of block: the member with the name of a tool."""


def referenced_tools(messages: Any) -> Mapping[str, int]:
    """Return the names of the tools that the history refers to or has called, with their positions among them."""
    blocks = (block for message in as_objects(messages) for block in as_objects(message.get("content")))
    parts = (part for block in blocks for part in (block, *as_objects(block.get("content"))))
    found = (part.get(_NAME_MEMBERS.get(str(part.get("type")), "")) for part in parts)
    names = dict.fromkeys(name for name in found if isinstance(name, str))
    return {name: position for position, name in enumerate(names)}


def reference_text(name: str) -> str:
    """Return a sentence that replaces a ``tool_reference``."""
    return f"The tool {name} is available now."


def adapt_members(body: Mapping[str, Any], quirks: Quirks) -> Changes:
    """Return the changed members of a request (``None``: removed) and the paths of dropped ones, for a Messages server
    other than Anthropic's."""
    changes: dict[str, Any] = {}
    dropped: list[str] = []
    steps = (
        (not quirks.billing_line, _remove_billing_line),
        (quirks.deferred_tools != "native", partial(_load_tools, everything=quirks.deferred_tools == "all")),
        (quirks.deferred_tools != "native", _replace_references),
    )
    for wanted, step in steps:
        if wanted:
            more, lost = step(body)
            changes |= more
            dropped.extend(lost)
    return changes, tuple(dropped)


def _is_native(quirks: Quirks) -> bool:
    """Return whether the server reads everything that ``adapt_members`` changes for others."""
    return quirks.billing_line and quirks.deferred_tools == "native"


def _remove_billing_line(body: Object) -> Changes:
    system = body.get("system")
    if isinstance(system, str):
        rest = strip_billing_line(system)
        return ({}, ()) if rest is None else ({"system": rest or None}, ("system",))
    first = system[0] if isinstance(system, list) and system else None
    text = first.get("text") if isinstance(first, dict) else None
    rest = strip_billing_line(text) if isinstance(text, str) else None
    if rest is None or not isinstance(system, list):
        return {}, ()
    blocks = [*([{**system[0], "text": rest}] if rest else []), *system[1:]]
    return {"system": blocks or None}, ("system[]",)


def _load_tools(body: Object, *, everything: bool) -> Changes:
    """Return the tools that the model may see now, without ``defer_loading``; Anthropic's search tools are dropped."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(isinstance(tool, dict) and tool.get("defer_loading") for tool in tools):
        return {}, ()
    everything = everything or uses_hosted_search(tools)
    found = {} if everything else referenced_tools(body.get("messages"))
    kept: list[Any] = []
    later: list[dict[str, Any]] = []
    dropped = ["tools[].defer_loading"]
    for tool in tools:
        if isinstance(tool, dict) and _is_search(tool):
            dropped.append("tools[]")
        elif not isinstance(tool, dict) or not tool.get("defer_loading") or everything:
            kept.append(_without_deferral(tool))
        elif tool.get("name") in found:
            later.append(_without_deferral(tool))
    later.sort(key=lambda tool: found[tool["name"]])  # the tools of earlier requests stay in front
    return {"tools": [*kept, *later] or None}, tuple(dropped)


def _without_deferral(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    return {name: value for name, value in tool.items() if name != "defer_loading"}


def uses_hosted_search(tools: Iterable[Any]) -> bool:
    """Return whether the request relies on Anthropic to search the tools."""
    return any(isinstance(tool, dict) and _is_search(tool) for tool in tools)


def _is_search(tool: Object) -> bool:
    return str(tool.get("type", "")).startswith(SEARCH)


def _replace_references(body: Object) -> Changes:
    """Replace references to tools by texts."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return {}, ()
    replaced = [
        _map_content(message, lambda block: _map_content(_reference_as_text(block), _reference_as_text))
        for message in messages
    ]
    return ({"messages": replaced} if replaced != messages else {}), ()


def _map_content(holder: Any, change: Callable[[Any], Any]) -> Any:
    """Return ``holder`` with ``change`` applied to each part of its content."""
    content = holder.get("content") if isinstance(holder, dict) else None
    return {**holder, "content": [change(part) for part in content]} if isinstance(content, list) else holder


def _reference_as_text(block: Any) -> Any:
    if not isinstance(block, dict) or block.get("type") != "tool_reference":
        return block
    return {"type": "text", "text": reference_text(str(block.get("tool_name")))}


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``providers.neutral.codec.Codec.adapt``."""
    if not _is_native(to.quirks) and any(map(draft.mentions, MARKS)):
        draft.replace(*adapt_members(draft.values(), to.quirks))
    lower_effort(draft, "output_config", to.known.efforts)
    adapt_schemas(draft, to.known)


# Reasoning of earlier turns

THINKING = {"thinking": "signature", "redacted_thinking": "data"}
"""The types of reasoning blocks, with the member that holds the opaque state. They accept no ``cache_control``."""


def restore(body: Object, issuer: Issuer) -> Changes:
    """Restore sealed reasoning, write the gateway's own searches as text, and remove its citations. See
    ``Codec.restore``.

    Removes messages without any content left: an empty message is a 400, two consecutive user messages are not.
    """
    messages = as_objects(body.get("messages"))
    reports = [one for message in messages for item in as_objects(message.get("content"))
               for one in read_item("messages", item)]  # fmt: skip
    ours = {one.id for one in reports if one.is_ours}

    def restore_block(block: dict[str, Any]) -> list[Any]:
        if ours and (found := read_item("messages", block)) and found[0].id in ours:
            return [{"type": "text", "text": found[0].as_text()}]
        if (cited := block.get("citations")) and (kept := without_own_citations(cited)) != cited:
            rest = {name: value for name, value in block.items() if name != "citations"}
            return [{**rest, "citations": kept} if kept else rest]
        opaque = block.get(THINKING.get(str(block.get("type")), ""))
        if not isinstance(opaque, str) or not opaque.startswith(PREFIX):
            return [block]
        seal = unseal(opaque)
        return [] if seal is None else restored_blocks(seal, issuer) or []

    return change_messages(body, "messages", "content", each_block(restore_block))


def without_own_citations(citations: Any) -> Any:
    """Return ``citations`` of an earlier text without those of the gateway's own form, which Anthropic rejects."""
    if not isinstance(citations, list):
        return citations
    return [one for one in citations if not as_string(as_object(one).get("encrypted_index")).startswith(PREFIX)]


def without_reasoning(body: Object) -> Changes:
    """Remove all reasoning. See ``Codec.without_reasoning``."""
    drop_reasoning = each_block(lambda block: [] if as_string(block.get("type")) in THINKING else [block])
    return change_messages(body, "messages", "content", drop_reasoning)


def restored_blocks(seal: Seal, issuer: Issuer) -> list[dict[str, Any]] | None:
    """Return the native blocks in a seal of ``issuer``; ``None`` for a seal of another issuer or API."""
    if not issuer.is_maker_of(seal) or seal.api != "messages":
        return None
    items = seal.item if isinstance(seal.item, list) else [seal.item]
    return items if items and all(isinstance(item, dict) and item.get("type") in THINKING for item in items) else None
