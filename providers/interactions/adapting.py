"""Edits of an Interactions client's request for an Interactions provider, including restored seals."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from providers.interactions.history import is_replayed
from providers.neutral.codec import Recipient
from providers.neutral.draft import Changes, Draft, Edit
from providers.neutral.fields import generic_path, join_path, parse_json
from providers.neutral.levels import known_level
from providers.neutral.seal import Issuer, is_sealed, unseal
from streams.errors import invalid

_CONFIG: Final = "generation_config"
_RESULT: Final = b'"function_result"'


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``Codec.adapt``."""
    if draft.mentions(_RESULT):
        _require_call_ids(draft)
    if draft.mentions(b'"thinking_level"'):
        _lower_thinking(draft, to)


def _require_call_ids(draft: Draft) -> None:
    """Raise a 400 for a result without the id of its call; Google's error explains less (google/adk-python#4381).

    Results are steps, or in the content of a step. Both may be one object instead of an array."""
    for step, at in _objects(draft.raw("input"), "input"):
        _require_call_id(step, at)
        content = step.get("content")
        if content is not None and _RESULT in bytes(content):
            for block, place in _objects(content, f"{at}.content"):
                _require_call_id(block, place)


def _objects(raw: msgspec.Raw | None, at: str) -> Iterator[tuple[Mapping[str, msgspec.Raw], str]]:
    """Yield the object ``raw``, or the objects in the array ``raw``, with their paths."""
    if raw is not None and _first_byte(raw) == b"{":
        yield parse_json(raw, dict[str, msgspec.Raw]), at
    elif raw is not None and _first_byte(raw) == b"[":
        for index, item in enumerate(parse_json(raw, list[msgspec.Raw])):
            if _first_byte(item) == b"{":
                yield parse_json(item, dict[str, msgspec.Raw]), join_path(at, index)


def _first_byte(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _require_call_id(step: Mapping[str, Any], at: str) -> None:
    if bytes(step.get("type", b"")) == _RESULT and bytes(step.get("call_id", b"")) in _ABSENT:
        raise invalid(f"{at}.call_id is required: send the id of the function_call", f"{at}.call_id")


_ABSENT: Final = (b"", b"null", b'""')


def _lower_thinking(draft: Draft, to: Recipient) -> None:
    """Lower a thinking level that the model is known to reject with a 400."""
    config = draft.value(_CONFIG)
    requested = config.get("thinking_level") if isinstance(config, Mapping) else None
    if not isinstance(requested, str) or to.known.thinking_control != "level":
        return
    level = known_level(requested.lower(), to.known.thinking_levels)
    if level is not None and level != requested.lower():
        draft.put(_CONFIG, {**config, "thinking_level": level})
        draft.note(Edit(f"{_CONFIG}.thinking_level", form=f"={level}"))


# Seals


def restore(body: Mapping[str, Any], issuer: Issuer) -> Changes:
    """Restore sealed thoughts. See ``Codec.restore``."""

    def restored(step: dict[str, Any]) -> list[Any] | None:
        signature = step.get("signature")
        if not isinstance(signature, str) or not is_sealed(signature):
            return [step]
        seal = unseal(signature)
        if seal is None or seal.api != "interactions" or not issuer.is_maker_of(seal):
            return None
        items = seal.item if isinstance(seal.item, list) else [seal.item]
        return [item for item in items if is_replayed(item)] or None

    return _change_steps(body, restored)


def without_reasoning(body: Mapping[str, Any]) -> Changes:
    """Remove thoughts. See ``Codec.without_reasoning``."""
    return _change_steps(body, lambda step: None if step.get("type") == "thought" else [step])


def _change_steps(body: Mapping[str, Any], change: Callable[[dict[str, Any]], list[Any] | None]) -> Changes:
    """Return ``input`` with each step replaced by those that ``change`` returns; ``None`` drops the step."""
    steps = body.get("input")
    if not isinstance(steps, list):
        return {}, ()
    written: list[Any] = []
    lost: dict[str, None] = {}
    for i, step in enumerate(steps):
        changed = change(step) if isinstance(step, dict) else [step]
        if changed is None:
            lost[generic_path(join_path(join_path("input", i), "signature"))] = None
        written += changed or []
    return ({} if written == steps else {"input": written}), tuple(lost)
