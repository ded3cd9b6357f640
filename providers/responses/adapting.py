"""A Responses client's own request for a model that does not take all that the client thinks: sampling that a reasoning
model refuses is left out, an effort that it does not know is lowered.
"""

from collections.abc import Mapping
from typing import Any

from providers.catalog.effort import lower_effort
from providers.catalog.sampling import accepts_sampling
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.parameters import BY_NAME
from providers.neutral.seal import PREFIX, Issuer, unseal
from providers.responses.compaction import as_message, is_own, summary
from providers.responses.ids import is_ours
from providers.responses.items import returned, without_own_id

_SAMPLING = ("temperature", "top_p", "top_logprobs")


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``providers.neutral.codec.Codec.adapt``."""
    known = to.known
    effort = lower_effort(draft, "reasoning", known.efforts)
    if not accepts_sampling(known, effort):
        draft.drop(*(name for name in _SAMPLING if draft.value(name) not in (None, BY_NAME[name].default, 0)))


def restore(body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """See ``Codec.restore``. A sealed reasoning item goes as a whole: what is left of it says nothing. Ids of the
    gateway mean nothing to a provider (Kilo-Org/kilocode#10197): they come off, and items that are only an id go."""
    items = body.get("input")
    if not isinstance(items, list):
        return {}, ()
    restored = [_restored(item, issuer) for item in items]
    if all(len(new) == 1 and new[0] is item for new, item in zip(restored, items, strict=True)):
        return {}, ()
    return {"input": [item for new in restored for item in new]}, () if all(restored) else ("input[]",)


def without_reasoning(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """See ``Codec.without_reasoning``."""
    items = body.get("input")
    kept = [item for item in items if not _is_reasoning(item)] if isinstance(items, list) else []
    return ({"input": kept}, ("input[]",)) if isinstance(items, list) and len(kept) < len(items) else ({}, ())


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _restored(item: Any, issuer: Issuer) -> list[Any]:
    """Return the item that goes to the provider for ``item``; nothing where it is somebody else's, or ours and without
    content."""
    if not isinstance(item, dict):
        return [item]
    if is_own(item):
        text = summary(item)
        return [] if text is None else [as_message(text)]
    if (text := _sealed(item)) is not None:
        seal = unseal(text)
        return [] if seal is None else returned(seal, issuer)
    if is_ours(item.get("id")) and item.get("type") in ("reasoning", "item_reference"):
        return []
    return [without_own_id(item)]


def _sealed(item: Mapping[str, Any]) -> str | None:
    """Return the seal in a reasoning item, ``None`` where there is none."""
    if item.get("type") != "reasoning":
        return None
    text = item.get("encrypted_content")
    return text if isinstance(text, str) and text.startswith(PREFIX) else None
