"""Edits of a Responses client's request for a model with fewer features than the client expects.

Sampling settings that a reasoning model rejects are removed, and an unknown effort is lowered.
"""

from collections.abc import Mapping
from typing import Any

from providers.catalog.effort import accepts_sampling, lower_effort
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.parameters import BY_NAME, MODERATION, refuse_lost_block
from providers.neutral.seal import PREFIX, Issuer, unseal
from providers.responses.compaction import as_message, is_own, summary
from providers.responses.items import is_own_image, unseal_items, without_own_id
from providers.responses.tools import is_own_id

_LINKED = ("message", "function_call", "custom_tool_call")
_SAMPLING = ("temperature", "top_p", "top_logprobs")


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``providers.neutral.codec.Codec.adapt``."""
    known = to.known
    if not known.moderation and MODERATION in draft:
        refuse_lost_block(draft.value(MODERATION))
    effort = lower_effort(draft, "reasoning", known.efforts)
    if not accepts_sampling(known, effort):
        draft.drop(*(name for name in _SAMPLING if draft.value(name) not in (None, BY_NAME[name].default, 0)))


def restore(body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Restore sealed reasoning and remove the gateway's ids. See ``Codec.restore``.

    Sealed reasoning is restored or dropped as a whole item. Providers reject unknown ids (Kilo-Org/kilocode#10197), so
    items that consist only of such an id are removed.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return {}, ()
    restored = [_restore_item(item, issuer) for item in items]
    if all(len(new) == 1 and new[0] is item for new, item in zip(restored, items, strict=True)):
        return {}, ()
    return {"input": [item for new in restored for item in new]}, () if all(restored) else ("input[]",)


def without_reasoning(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Remove all reasoning items, and the ids by which others refer to them. See ``Codec.without_reasoning``."""
    items = body.get("input")
    if not isinstance(items, list):
        return {}, ()
    kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    unlinked = [_without_link(item) for item in kept]
    changes = {"input[]": len(kept) < len(items), "input[].id": unlinked != kept}
    return ({"input": unlinked} if any(changes.values()) else {}), tuple(path for path in changes if changes[path])


def _without_link(item: Any) -> Any:
    """Return ``item`` without its id, if OpenAI does not require one."""
    is_linked = isinstance(item, dict) and item.get("type", "message") in _LINKED
    return {name: value for name, value in item.items() if name != "id"} if is_linked else item


def _restore_item(item: Any, issuer: Issuer) -> list[Any]:
    """Return the items to send for ``item``; none for another provider's, or for the gateway's own without content."""
    if not isinstance(item, dict):
        return [item]
    if is_own(item):
        text = summary(item)
        return [] if text is None else [as_message(text)]
    if (text := _find_seal(item)) is not None:
        seal = unseal(text)
        return [] if seal is None else unseal_items(seal, issuer)
    if is_own_image(item) or (is_own_id(item.get("id")) and item.get("type") in ("reasoning", "item_reference")):
        return []
    return [without_own_id(item)]


def _find_seal(item: Mapping[str, Any]) -> str | None:
    """Return the seal in a reasoning item, or ``None``."""
    if item.get("type") != "reasoning":
        return None
    text = item.get("encrypted_content")
    return text if isinstance(text, str) and text.startswith(PREFIX) else None
