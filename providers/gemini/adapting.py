"""Edits of a Gemini client's request for a Gemini provider, including restored seals."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from providers.gemini.outgoing import check_cached_content
from providers.gemini.spellings import find_member, snake
from providers.gemini.turns import PLACEHOLDER
from providers.neutral.codec import Recipient
from providers.neutral.draft import ChangeBlocks, Changes, Draft, Edit, change_messages
from providers.neutral.fields import join_path, parse_json
from providers.neutral.levels import known_level
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer, Seal, is_sealed, unseal

_Part: TypeAlias = Mapping[str, Any]

_SIGNATURES: Final = ("thoughtSignature", "thought_signature")
_CALLS: Final = ("functionCall", "function_call")
_NEED_SIGNATURE: Final = (*_CALLS, "inlineData", "inline_data")


def adapt(draft: Draft, to: Recipient) -> None:
    """Edit the request. See ``Codec.adapt``."""
    for name in ("cachedContent", "cached_content"):
        if draft.mentions(f'"{name}"'.encode()) and draft.value(name):
            check_cached_content(lambda name: draft.value(name) or draft.value(snake(name)))
            break
    if to.known.signed_calls and any(draft.mentions(f'"{name}"'.encode()) for name in _CALLS):
        _sign_calls(draft)
    if draft.mentions(b"hinking") or draft.mentions(b"thinking_"):
        _lower_thinking(draft, to.known)


def _sign_calls(draft: Draft) -> None:
    """Add a placeholder signature to the first call of each model turn that lacks one.

    Otherwise the provider rejects the whole history (anomalyco/opencode#4832). All other bytes stay unchanged.
    """
    changed: dict[int, Mapping[str, Any]] = {}
    for index, content in draft.items("contents"):
        raw = bytes(content.get("parts", b""))
        if raw.startswith(b"[") and any(f'"{name}"'.encode() in raw for name in _CALLS):
            parts = parse_json(raw, list[msgspec.Raw])
            if (signed := _sign_first_call(parts)) is not None:
                changed[index] = {**content, "parts": signed}
    if changed:
        draft.put_items("contents", changed)
        draft.note(Edit("contents[].parts[].thoughtSignature"))


def _sign_first_call(parts: list[msgspec.Raw]) -> list[Any] | None:
    """Return ``parts`` with a signature on the first call, or ``None`` if it has one or there is no call."""
    for place, raw in enumerate(parts):
        part = parse_json(raw, dict[str, msgspec.Raw]) if bytes(raw).startswith(b"{") else {}
        if any(name in part for name in _CALLS):
            if any(name in part for name in _SIGNATURES):
                return None
            return [*parts[:place], {**part, _SIGNATURES[0]: PLACEHOLDER}, *parts[place + 1 :]]
    return None


def _lower_thinking(draft: Draft, known: Quirks) -> None:
    """Lower a level that the model is known to lack, which would be a 400."""
    member = next((name for name in ("generationConfig", "generation_config") if name in draft), None)
    config = draft.value(member) if member is not None else None
    thinking = find_member(config, "thinkingConfig")
    requested = find_member(thinking, "thinkingLevel")
    if not isinstance(requested, str) or known.thinking_control != "level":
        return
    level = known_level(requested.lower(), known.thinking_levels)
    if level is None or level == requested.lower() or member is None or config is None:
        return
    inner, name = _spelling_in(config, "thinkingConfig"), _spelling_in(thinking, "thinkingLevel")
    draft.put(member, {**config, inner: {**thinking, name: level}})
    draft.note(Edit(f"{member}.{inner}.{name}", form=f"={level}"))


def _spelling_in(holder: Mapping[str, Any], name: str) -> str:
    return name if name in holder else snake(name)


# Seals


def restore(body: Mapping[str, Any], issuer: Issuer) -> Changes:
    """Restore sealed signatures. See ``Codec.restore``.

    A signature of another provider is removed together with its thoughts.
    """
    return _change_parts(body, partial(_restore_parts, issuer))


def without_reasoning(body: Mapping[str, Any]) -> Changes:
    """Remove thoughts and signatures. See ``Codec.without_reasoning``.

    A signed call or image gets the placeholder that Google documents for missing signatures.
    """
    return _change_parts(body, _drop_reasoning)


def _change_parts(body: Mapping[str, Any], change: ChangeBlocks) -> Changes:
    contents = body.get("contents")
    listed = [_with_part_list(one) for one in (contents if isinstance(contents, list) else [contents])]
    return change_messages({"contents": listed}, "contents", "parts", change)


def _with_part_list(content: Any) -> Any:
    """Return a content with its parts as a list; a single object counts as a list of one."""
    lone = isinstance(content, dict) and isinstance(content.get("parts"), dict)
    return {**content, "parts": [content["parts"]]} if lone else content


def _restore_parts(issuer: Issuer, parts: Sequence[Any], at: str) -> tuple[list[Any], list[str]]:
    out: list[Any] = []
    lost: list[str] = []
    for index, part in enumerate(parts):
        name = next((one for one in _SIGNATURES if isinstance(part, dict) and is_sealed(str(part.get(one)))), None)
        if name is None:
            out.append(part)
            continue
        rest = {key: value for key, value in part.items() if key != name}
        item = _sealed_item(unseal(part[name]), issuer)
        if item is None:
            lost.append(join_path(join_path(at, index), name))
            while out and isinstance(out[-1], dict) and out[-1].get("thought") is True:
                out.pop()  # the thoughts before it belong to the same model
            out += [rest] if _has_content(rest) else []
        elif isinstance(item.get("native"), dict):
            out.append(item["native"])
        else:
            out.append({**rest, name: item.get("signature")})
    return out, lost


def _sealed_item(seal: Seal | None, issuer: Issuer) -> Mapping[str, Any] | None:
    """Return the item of a seal that ``issuer`` made for this API, or ``None``."""
    if seal is None or seal.api != "gemini" or not issuer.is_maker_of(seal):
        return None
    item = seal.item[0] if isinstance(seal.item, list) and seal.item else seal.item
    has = isinstance(item, dict) and (isinstance(item.get("signature"), str) or "native" in item)
    return item if has else None


def _has_content(part: _Part) -> bool:
    """Return whether a part is more than a carrier of a signature."""
    return part.get("thought") is not True and part.get("text", "-") != ""


def _drop_reasoning(parts: Sequence[Any], at: str) -> tuple[list[Any], list[str]]:
    kept = list(_without_signatures(parts))
    return kept, [] if kept == list(parts) else [f"{at}[]"]


def _without_signatures(parts: Sequence[Any]) -> Iterator[Any]:
    for part in parts:
        name = next((one for one in _SIGNATURES if isinstance(part, dict) and one in part), None)
        if not isinstance(part, dict) or (name is None and part.get("thought") is not True):
            yield part
            continue
        rest = {key: value for key, value in part.items() if key not in _SIGNATURES}
        if name is not None and any(one in part for one in _NEED_SIGNATURE):
            yield {**rest, name: PLACEHOLDER}
        elif _has_content(rest):
            yield rest
