"""A Converse client's own request, edited for a provider of its API: cache points that the model is known not to take,
levels of effort, and sealed reasoning."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from providers.catalog.effort import lower_effort
from providers.converse.families import FAMILIES, Place
from providers.converse.history import restored
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.fields import generic, join
from providers.neutral.seal import Issuer, is_sealed, unseal

Changes: TypeAlias = tuple[Mapping[str, Any], tuple[str, ...]]
Change: TypeAlias = Callable[[dict[str, Any], str], list[Any]]
"""What a block at a path becomes; ``[block]`` itself where nothing is to be done."""

_OF_UNKNOWN = FAMILIES["other"]
_POINT = "cachePoint"


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``Codec.adapt``. Of a family that nobody knows nothing is known to be refused."""
    family = FAMILIES[to.known.bedrock_family]
    if family is not _OF_UNKNOWN and draft.mentions(b'"cachePoint"'):
        for place in ("tools", "system", "messages"):
            if place not in family.cached:
                _drop_cache_points(draft, place)
    lower_effort(draft, "outputConfig", to.known.efforts)


def _drop_cache_points(draft: Draft, place: Place) -> None:
    if place == "messages":
        draft.replace(*_changed({"messages": draft.value("messages")}, _without_point))
    elif place == "system":
        _put(draft, "system", draft.value("system"), "system")
    elif isinstance(config := draft.value("toolConfig"), dict):
        _put(draft, "toolConfig", config.get("tools"), "toolConfig.tools", lambda tools: {**config, "tools": tools})


def _put(
    draft: Draft, member: str, blocks: Any, at: str, holder: Callable[[list[Any]], Any] = lambda blocks: blocks
) -> None:
    if isinstance(blocks, list):
        kept, lost = _each(blocks, at, _without_point)
        if lost:
            draft.replace({member: holder(kept)}, lost)


def _without_point(block: dict[str, Any], at: str) -> list[Any]:
    return [] if _POINT in block else [block]


def restore(body: Mapping[str, Any], issuer: Issuer) -> Changes:
    """See ``Codec.restore``."""

    def unsealed(block: dict[str, Any], at: str) -> list[Any]:
        opaque = _opaque(block.get("reasoningContent"))
        if not is_sealed(opaque):
            return [block]
        seal = unseal(opaque)
        item = None if seal is None else restored(seal, issuer)
        return [] if item is None else [{"reasoningContent": item}]

    return _changed(body, unsealed)


def _opaque(reasoning: Any) -> str:
    """Return what a provider wants back with its reasoning, "" if there is nothing."""
    if not isinstance(reasoning, dict):
        return ""
    text = reasoning.get("reasoningText")
    opaque = text.get("signature") if isinstance(text, dict) else reasoning.get("redactedContent")
    return opaque if isinstance(opaque, str) else ""


def without_reasoning(body: Mapping[str, Any]) -> Changes:
    """See ``Codec.without_reasoning``."""
    return _changed(body, lambda block, at: [] if "reasoningContent" in block else [block])


def _changed(body: Mapping[str, Any], change: Change) -> Changes:
    """Return ``messages`` with each block changed, where one is, and the paths of blocks that went. A message that is
    left empty goes too: content is never an empty list."""
    messages = body.get("messages")
    dropped: dict[str, None] = {}
    changed = False
    result = []
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            result.append(message)
            continue
        blocks, lost = _each(content, join(join("messages", i), "content"), change)
        dropped |= dict.fromkeys(lost)
        same = len(blocks) == len(content) and all(one is other for one, other in zip(blocks, content, strict=True))
        changed |= not same
        if same or blocks:
            result.append(message if same else {**message, "content": blocks})
    return ({"messages": result} if changed else {}), tuple(dropped)


def _each(blocks: list[Any], at: str, change: Change) -> tuple[list[Any], tuple[str, ...]]:
    kept: list[Any] = []
    lost: dict[str, None] = {}
    for i, block in enumerate(blocks):
        into = change(block, at) if isinstance(block, dict) else [block]
        if not into:
            place = join(at, i)
            lost[generic(join(place, _POINT) if _POINT in block else place)] = None
        kept.extend(into)
    return kept, tuple(lost)
