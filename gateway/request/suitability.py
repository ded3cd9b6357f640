"""Selects the candidates that can serve a request according to their models' rows (``providers/catalog/models.py``).

Unknown abilities are tried. A prompt that is certainly too long for one model goes to another: a fallback with 8k
received a prompt of 10k, and the client's error described the wrong window (BerriAI/litellm#31557)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs
import msgspec

from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.errors.member_paths import BETA
from providers.neutral.choices import are_translated
from providers.neutral.quirks import Ability
from providers.neutral.seal import MARKS, sealed_by
from streams.errors import invalid
from streams.events import UNAVAILABLE

_PIECE: Final = 2**16  # bytes whose words are counted in one call
_ITEMS_SEARCHED: Final = 20  # items of earlier turns that are searched for reasoning
_SEALS: Final = tuple(b'"' + mark for mark in MARKS)
_NAME_AND_COLON: Final = 24  # bytes before a value that contain its member's name


def select_suitable(
    candidates: tuple[Candidate, ...], incoming: Incoming, client_request: ClientRequest
) -> tuple[Candidate, ...]:
    """Return the ``candidates`` that can do what ``incoming`` requests and have a large enough window, and at least
    one.

    If all windows are too small, it returns the one with the largest."""
    if len(candidates) == 1:
        return candidates
    return _with_large_windows(_keep_capable(candidates, incoming), incoming, client_request)


def refuse_images(candidates: tuple[Candidate, ...], incoming: Incoming) -> None:
    """Raise ``GatewayError`` for a request with images if none of ``candidates`` accept images.

    A maker's own error describes what it could not parse (400 "unknown variant `image_url`"). This is certain for
    images only: routers and this gateway read PDFs for every model, and tools and schemas can be described in text."""
    if not all("images" in one.target.recipient.quirks.cannot for one in candidates):
        return
    if not all("images" in one.target.entry.missing_abilities(one.target.model) for one in candidates):
        return
    if _has_images(incoming):
        names = ", ".join(dict.fromkeys(one.target.name for one in candidates))
        raise invalid(
            f"{names} does not support images, but the request has some: use another model, or remove them (if the "
            "model does support images, set `quirks: {cannot: []}` in its entry)"
        )


def put_reasoning_readers_first(candidates: tuple[Candidate, ...], incoming: Incoming) -> tuple[Candidate, ...]:
    """Return ``candidates``, in each group first those that can read the request's last reasoning.

    It is sealed for the account that created it, and would be omitted for others (maximhq/bifrost#5892)."""
    text = next((text for text in _newest_texts(incoming) if any(seal in text for seal in _SEALS)), b"")
    at = max(map(text.rfind, _SEALS))
    if at < 0 or (made := sealed_by(text[at + 1 : at + 1000].partition(b'"')[0])) is None:
        return candidates
    return tuple(sorted(candidates, key=lambda one: (one.group, not one.target.recipient.issuer.is_maker_of(made))))


def _newest_texts(incoming: Incoming) -> Iterator[bytes]:
    yield incoming.body
    yield from map(msgspec.json.encode, incoming.earlier_items[: -_ITEMS_SEARCHED - 1 : -1])


# Abilities


def _keep_capable(candidates: tuple[Candidate, ...], incoming: Incoming) -> tuple[Candidate, ...]:
    rows = [one.target.recipient.quirks.cannot for one in candidates]
    if not any(rows) and "n" not in incoming.members:
        return candidates
    lacking = {ability for one in candidates for ability in _lacked_abilities(one.target, incoming)}
    needed = {ability for ability in lacking if _NEEDS[ability](incoming)}
    if not needed:
        return candidates
    return tuple(one for one in candidates if needed.isdisjoint(_lacked_abilities(one.target, incoming))) or candidates


def _lacked_abilities(target: Target, incoming: Incoming) -> tuple[Ability, ...]:
    lacking = target.recipient.quirks.cannot
    several = target.lane == "byte" or are_translated(incoming.api, target.api, stream=incoming.stream)
    return lacking if several else (*lacking, "choices")


def _has_tools(incoming: Incoming) -> bool:
    return any(len(incoming.members.get(name, b"")) > len(b"null") for name in ("tools", "functions"))


def _requests_choices(incoming: Incoming) -> bool:
    return bytes(incoming.members.get("n", b"1")) not in (b"1", b"null")


def _has_schema(incoming: Incoming) -> bool:
    rows = (("response_format", b'"json_schema"'), ("text", b'"json_schema"'), ("output_config", b'"format"'))
    return any(word in bytes(incoming.members.get(member, b"")) for member, word in rows)


def _has_images(incoming: Incoming) -> bool:
    return any(_has_member_value(text, b"type", (b"image_url", b"image", b"input_image")) for text in _texts(incoming))


def _has_pdf(incoming: Incoming) -> bool:
    return any(
        _has_member_value(text, b"type", (b"file", b"input_file"))
        or _has_member_value(text, b"media_type", (b"application/pdf",))
        for text in _texts(incoming)
    )


_NEEDS: Final[Mapping[Ability, Callable[[Incoming], bool]]] = {
    "images": _has_images,
    "pdf": _has_pdf,
    "tools": _has_tools,
    "choices": _requests_choices,
    "structured_output": _has_schema,
}
"""Functions that return whether a request needs an ability."""


def _texts(incoming: Incoming) -> Iterator[bytes]:
    """Yield the JSON of the request and of each stored item of its conversation."""
    yield incoming.body
    yield from map(msgspec.json.encode, incoming.earlier_items)


def _has_member_value(text: bytes, member: bytes, values: tuple[bytes, ...]) -> bool:
    """Return whether an object in the JSON ``text`` has one of ``values`` as its ``member``.

    JSON within strings does not count, because its quotes are escaped."""
    name = re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*$' % member)
    for value in values:
        marker = b'"%b"' % value
        at = text.find(marker)
        while at >= 0:
            if name.search(text, max(0, at - _NAME_AND_COLON), at) is not None:
                return True
            at = text.find(marker, at + 1)
    return False


# Windows


def _with_large_windows(
    candidates: tuple[Candidate, ...], incoming: Incoming, client_request: ClientRequest
) -> tuple[Candidate, ...]:
    windows = [one.target.recipient.quirks.context_window for one in candidates]
    known = [window for window in windows if window is not None]
    if not known or incoming.size < min(known):  # no prompt has more tokens than bytes
        return candidates
    if _is_shortened(incoming) or sum(map(_most_words, _texts(incoming))) < min(known):
        return candidates
    tokens = sum(map(_fewest_tokens, _texts(incoming)))
    if tokens < min(known):
        return candidates
    return drop_small_windows(candidates, [_is_small(one.target, tokens, client_request) for one in candidates])


def _is_shortened(incoming: Incoming) -> bool:
    """Return whether the request lets the provider shorten the prompt."""
    return "context_management" in incoming.members or bytes(incoming.members.get("truncation", b"")) == b'"auto"'


def _is_small(target: Target, tokens: int, client_request: ClientRequest) -> bool:
    window = target.recipient.quirks.context_window
    return window is not None and window < tokens and not _requests_longer_window(target, client_request)


def _requests_longer_window(target: Target, client_request: ClientRequest) -> bool:
    """Return whether the request uses a beta for a longer context window than the row's."""
    beta = CODECS[target.api].wire.long_context_beta
    return beta is not None and (beta in target.betas or beta in (client_request.header(BETA) or ""))


def drop_small_windows(candidates: tuple[Candidate, ...], small: list[bool]) -> tuple[Candidate, ...]:
    """Return ``candidates`` without those whose window is too ``small``.

    A small window counts as the failure ``context_too_long`` before all later groups: the candidates for that failure
    replace the small ones. Candidates for other failures do not, because none happened."""
    kept: list[Candidate] = []
    passed_over: int | None = None  # the first group with one
    for one, is_small in zip(candidates, small, strict=True):
        if is_small:
            passed_over = one.group if passed_over is None else passed_over
        elif passed_over is not None and "context_too_long" in one.when:
            kept.append(attrs.evolve(one, when=one.when | UNAVAILABLE))
        elif kept or one.group == candidates[0].group or one.when >= UNAVAILABLE:
            kept.append(one)
    if kept:
        return tuple(kept)
    largest = max(candidates, key=lambda one: _window_of(one) if _accepts_long_prompts(one, candidates) else 0)
    return tuple(one for one, is_small in zip(candidates, small, strict=True) if not is_small or one is largest)


def _window_of(candidate: Candidate) -> int:
    return candidate.target.recipient.quirks.context_window or 0


def _accepts_long_prompts(candidate: Candidate, candidates: tuple[Candidate, ...]) -> bool:
    """Return whether ``candidate`` may receive a prompt that is too long for others."""
    return (
        candidate.group == candidates[0].group or "context_too_long" in candidate.when or candidate.when >= UNAVAILABLE
    )


def _most_words(text: bytes) -> int:
    """Return a fast upper bound of ``_fewest_tokens``."""
    return 2 * text.count(b" ") + text.count(b"\n") + text.count(b"\t") + text.count(b"\r") + 1


def _fewest_tokens(text: bytes) -> int:
    """Return a lower bound of the tokens in the JSON ``text``.

    No tokenizer merges two words, or a word with the comma or full stop after it. JSON's punctuation does not count,
    and text without spaces hardly does; images and files have no tokens."""
    words = 0
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        words += len(piece.split()) + piece.count(b", ") + piece.count(b". ") - 1
        words -= 2 * piece.count(b'", ') + piece.count(b'": ')
    return max(words, 0)
