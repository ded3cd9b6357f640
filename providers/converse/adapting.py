"""Edits of a Converse client's request for a Converse provider: unsupported cache points, effort, sealed reasoning."""

from collections.abc import Callable, Mapping
from typing import Any

from providers.catalog.effort import lower_effort
from providers.converse.families import FAMILIES, Place
from providers.converse.history import restored_item
from providers.neutral.codec import Recipient
from providers.neutral.draft import Changes, Draft, change_messages, each_block
from providers.neutral.fields import generic_path
from providers.neutral.schemas import adapt_schemas
from providers.neutral.seal import Issuer, is_sealed, unseal
from providers.neutral.values import as_object, as_string

_UNKNOWN_FAMILY = FAMILIES["other"]
_POINT = "cachePoint"
_WITHOUT_POINTS = each_block(lambda block: [] if _POINT in block else [block], _POINT)


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``Codec.adapt``.

    Unknown families are known to reject nothing.
    """
    family = FAMILIES[to.known.bedrock_family]
    if family is not _UNKNOWN_FAMILY and draft.mentions(b'"cachePoint"'):
        for place in ("tools", "system", "messages"):
            if place not in family.cached:
                _drop_cache_points(draft, place)
    lower_effort(draft, "outputConfig", to.known.efforts)
    adapt_schemas(draft, to.known)


def _drop_cache_points(draft: Draft, place: Place) -> None:
    if place == "messages":
        draft.replace(*change_messages({"messages": draft.value("messages")}, "messages", "content", _WITHOUT_POINTS))
    elif place == "system":
        _remove_points(draft, "system", draft.value("system"), "system")
    elif isinstance(config := draft.value("toolConfig"), dict):
        _remove_points(
            draft, "toolConfig", config.get("tools"), "toolConfig.tools", lambda tools: {**config, "tools": tools}
        )


def _remove_points(
    draft: Draft, member: str, blocks: Any, at: str, holder: Callable[[list[Any]], Any] = lambda blocks: blocks
) -> None:
    if isinstance(blocks, list):
        kept, lost = _WITHOUT_POINTS(blocks, at)
        if lost:
            draft.replace({member: holder(kept)}, tuple(dict.fromkeys(map(generic_path, lost))))


def restore(body: Mapping[str, Any], issuer: Issuer) -> Changes:
    """Restore sealed reasoning. See ``Codec.restore``."""

    def restore_block(block: dict[str, Any]) -> list[Any]:
        opaque = _opaque_state(block.get("reasoningContent"))
        if not is_sealed(opaque):
            return [block]
        seal = unseal(opaque)
        item = None if seal is None else restored_item(seal, issuer)
        return [] if item is None else [{"reasoningContent": item}]

    return change_messages(body, "messages", "content", each_block(restore_block))


def _opaque_state(reasoning: Any) -> str:
    """Return the opaque state in a reasoning block, or ""."""
    text = as_object(reasoning).get("reasoningText")
    return as_string(text.get("signature") if isinstance(text, dict) else as_object(reasoning).get("redactedContent"))


def without_reasoning(body: Mapping[str, Any]) -> Changes:
    """Remove all reasoning. See ``Codec.without_reasoning``."""
    drop_reasoning = each_block(lambda block: [] if "reasoningContent" in block else [block])
    return change_messages(body, "messages", "content", drop_reasoning)
