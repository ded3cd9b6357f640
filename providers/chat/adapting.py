"""Edits of a Chat client's request for another provider of Chat, or another model than the client expects.

Members that the target is known to reject are renamed, lowered or removed. The facts come from catalogue rows
(``providers`` and ``models``) and the configuration; without facts a request stays unchanged.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from providers.catalog.effort import accepts_sampling
from providers.chat.parts import TYPED_FIELD, native_members
from providers.chat.settings import SAMPLING
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft, Edit, ask_usage
from providers.neutral.fields import Drops
from providers.neutral.levels import known_level
from providers.neutral.parameters import BY_NAME, MODERATION, refuse_lost_block
from providers.neutral.quirks import Quirks
from providers.neutral.seal import PREFIX, Issuer, unseal

_Step: TypeAlias = Callable[[Draft, Quirks], None]


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``providers.neutral.codec.Codec.adapt``."""
    for step in _needed_edits(to.known):
        step(draft, to.known)
    if not to.quirks.stream_usage:
        draft.drop("stream_options")
    elif to.counts_usage:
        ask_usage(draft)


def without_reasoning(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Replace the signatures of Gemini's calls. See ``Codec.without_reasoning``."""
    from providers.errors.call_signatures import replace_signatures  # few providers have them

    changed = replace_signatures(body)
    return changed, ("messages[].tool_calls[].extra_content",) if changed else ()


@lru_cache(maxsize=256)
def _needed_edits(known: Quirks) -> tuple[_Step, ...]:
    """Return the edits that the ``known`` facts may require, often none."""
    steps: tuple[tuple[bool, _Step], ...] = (
        (known.max_tokens_field == "max_tokens" or not known.takes_max_tokens, _rename_limit),
        (not known.developer_role, _rename_role),
        (bool(known.efforts) or not known.reasoning_effort, _lower_effort),
        (known.sampling != "free" or known.one_of_temperature_top_p, _drop_sampling),
        (not known.moderation, _refuse_moderation),
    )
    return tuple(step for wanted, step in steps if wanted)


def _rename_limit(draft: Draft, known: Quirks) -> None:
    other = "max_completion_tokens" if known.max_tokens_field == "max_tokens" else "max_tokens"
    if other in draft and draft.value(other) is not None:
        draft.rename(other, known.max_tokens_field)


def _rename_role(draft: Draft, known: Quirks) -> None:
    """Send role ``developer`` as ``system``, its name before OpenAI's reasoning models."""
    if not draft.mentions(b'"developer"'):
        return
    changed = {
        index: {**message, "role": "system"}
        for index, message in draft.items("messages")
        if bytes(message.get("role", b"")) == b'"developer"'
    }
    if changed:
        draft.put_items("messages", changed)
        draft.note(Edit("messages[].role", lost=False, form="=system"))


def _refuse_moderation(draft: Draft, known: Quirks) -> None:
    """Raise a 400 for a moderation that blocks; one that scores passes unchanged, in case the server knows it."""
    if MODERATION in draft:
        refuse_lost_block(draft.value(MODERATION))


def _lower_effort(draft: Draft, known: Quirks) -> None:
    effort = draft.value("reasoning_effort")
    if not isinstance(effort, str):
        return
    level = known_level(effort, known.efforts) if known.reasoning_effort else None
    if level != effort:
        draft.put("reasoning_effort", level)
        draft.note(Edit("reasoning_effort", form="" if level is None else f"={level}"))


def _drop_sampling(draft: Draft, known: Quirks) -> None:
    """Remove sampling settings that the model rejects. Default values stay, because every model accepts them."""
    if accepts_sampling(known, draft.value("reasoning_effort")):
        if (
            known.one_of_temperature_top_p
            and draft.value("temperature") is not None
            and _differs_from_default(draft, "top_p")
        ):
            draft.drop("top_p")
        return
    draft.drop(*(name for name in (*SAMPLING, "logprobs", "top_logprobs") if _differs_from_default(draft, name)))


def _differs_from_default(draft: Draft, name: str) -> bool:
    value: Any = draft.value(name)
    return value is not None and value != BY_NAME[name].default


# Seals


def restore(body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return ``messages`` with every seal in ``reasoning_details`` restored. See ``Codec.restore``."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return {}, ()
    drops = Drops()
    restored = [_restore_message(message, issuer, drops) for message in messages]
    changed = any(new is not old for new, old in zip(restored, messages, strict=True))
    return ({"messages": restored} if changed else {}), drops.paths()


def _restore_message(message: Any, issuer: Issuer, drops: Drops) -> Any:
    """Return the message itself if it has no seal, else a changed copy.

    ``reasoning_content`` next to a seal is the readable text of the sealed reasoning, so both are dropped together.
    """
    details = message.get("reasoning_details") if isinstance(message, dict) else None
    if not isinstance(details, list) or not any(map(_has_seal, details)):
        return message
    restored = dict(message)
    text = restored.get("reasoning_content")
    kept: list[Any] = []
    for detail in details:
        if not _has_seal(detail):
            kept.append(detail)
        elif members := _unseal_members(detail["data"], issuer, text if isinstance(text, str) else ""):
            kept.extend(members.pop("reasoning_details", ()))
            if members:
                restored.pop("reasoning_content", None)
            if typed := members.pop(TYPED_FIELD, None):
                members[TYPED_FIELD] = [*typed, *_as_parts(restored.get(TYPED_FIELD))]
            restored |= members
        else:
            drops.add("messages[].reasoning_details[]")
            if restored.pop("reasoning_content", None) is not None:
                drops.add("messages[].reasoning_content")
    restored["reasoning_details"] = kept
    if not kept:
        del restored["reasoning_details"]
    return restored


def _as_parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) else []


def _has_seal(detail: Any) -> bool:
    data = detail.get("data") if isinstance(detail, dict) else None
    return isinstance(data, str) and data.startswith(PREFIX)


def _unseal_members(data: str, issuer: Issuer, text: str) -> dict[str, Any]:
    """Return the members that a seal represents; none for a seal of another issuer or API."""
    seal = unseal(data)
    if seal is None or seal.api != "chat" or not issuer.is_maker_of(seal):
        return {}
    members: dict[str, Any] = {}
    for item in seal.item if isinstance(seal.item, list) else [seal.item]:
        for name, value in native_members(item, text).items():
            members[name] = members[name] + value if isinstance(value, list) and name in members else value
    return members
