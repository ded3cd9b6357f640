"""Texts of prompts around the first difference from an earlier request, for the live view, if the operator enables
them.

They are bodies that the gateway sent, after the masks of steps, in the memory of one process."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import attrs
import msgspec

from gateway.exchange.target_request import TargetRequest
from gateway.http.offload import offload
from gateway.http.redaction import redact
from gateway.request.public_errors import secrets_of
from gateway.shared.owned_entries import OwnedEntries
from streams.surrogates import NOT_JSON

if TYPE_CHECKING:
    from gateway.features.prompt_caches.differences import Difference
    from gateway.features.prompt_caches.prompts import PromptDigest
    from gateway.features.prompt_caches.tracker import FollowedAttempt, FollowedExchange

EXCERPT: Final = 200
"""Characters of a text that an excerpt has."""

_BEFORE: Final = 80
"""Characters of an excerpt ahead of the difference."""

_WIDE: Final = 16 * 1024
"""Characters on both sides of the difference in which credentials are masked, because a cut one would not be found."""

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS: Final = ("text", "content")

Compare: TypeAlias = Callable[[], Awaitable[None]]
_Texts: TypeAlias = Sequence[str | None]


class _SentText(NamedTuple):
    """The ``body`` of a conversation's latest request, which was sent at ``sent``."""

    sent: float
    body: bytes


class LatestTexts:
    """The texts of conversations, at most ``most`` bytes. A client has at most half of them.

    If they are full, the client with the most bytes loses the least recently used conversation."""

    def __init__(self, most: int) -> None:
        self.is_open = True
        self._share = most // 2
        self._texts: OwnedEntries[bytes, bytes, _SentText] = OwnedEntries(most, most_of_owner=self._share)

    def of_exchange(self) -> "ExchangeTexts":
        """Return the texts of a new exchange."""
        return ExchangeTexts(self)

    def find(self, owner: bytes, conversation: bytes, sent: float) -> bytes | None:
        """Return the body of a client's conversation, ``None`` if it is not that of the request sent at ``sent``."""
        known = self._texts.get(owner, conversation)
        return None if known is None or known.sent != sent else known.body

    def keep(self, owner: bytes, conversation: bytes, sent: float, body: bytes) -> None:
        """Store the ``body`` of a conversation in place of its earlier one. One that is too large is not stored."""
        if self.is_open and len(body) <= self._share:
            self._texts.put(owner, conversation, _SentText(sent, body), len(body))
        else:
            self._texts.remove(owner, conversation)

    def close(self) -> None:
        """Delete all texts, also those that viewers could see, because the operator switches them off."""
        self.is_open = False
        self._texts.clear()


class ShownTexts:
    """The texts of an exchange that viewers may see. It refers to nothing else of the exchange, which it outlives."""

    def __init__(self, texts: LatestTexts) -> None:
        self._texts = texts
        self._excerpts: Excerpts | None = None

    @property
    def is_open(self) -> bool:
        """Whether the operator still enables texts."""
        return self._texts.is_open

    @property
    def excerpts(self) -> "Excerpts | None":
        """The excerpts; ``None`` until they are compared, without a difference, or without the earlier text."""
        return self._excerpts if self.is_open else None

    def show(self, excerpts: "Excerpts | None") -> None:
        self._excerpts = excerpts


class ExchangeTexts:
    """The texts of one exchange: its parent's, and that of its last attempt until the response begins."""

    def __init__(self, texts: LatestTexts) -> None:
        self.shown = ShownTexts(texts)
        self._texts = texts
        self._earlier: bytes | None = None
        self._own: bytes | None = None
        self._exchange: FollowedExchange | None = None

    def note(self, attempt: "FollowedAttempt", target_request: TargetRequest) -> Compare | None:
        """Note an attempt's text. Return a function that compares it with its parent's, if there is a difference."""
        context = target_request.context
        if context.checks is not None and context.checks.may_hide_later:
            return None  # a step may still mask or refuse a part of it
        exchange, self._own = attempt.exchange, target_request.prepared.outgoing.body
        parent = exchange.parent
        if self._exchange is None:
            self._exchange = exchange
            if parent is not None:
                self._earlier = self._texts.find(exchange.owner, parent.id, parent.conversation.ends[-1].sent)
        if self._earlier is None or parent is None:
            return None
        if (change := exchange.tracker.compare(attempt).change_in_reach) is None:
            return None
        prompts = parent.prompt, attempt.read.prompt
        secrets = secrets_of(target_request.target, context.client_request.credential)
        mask = partial(_redact, context.service.ledger.mask, secrets)
        return partial(self._compare, (self._earlier, self._own), prompts, change, mask)

    async def _compare(self, bodies: tuple[bytes, bytes], *more: Any) -> None:
        """Set the texts that viewers see. Large ones are read in a thread."""
        self.shown.show(await offload(sum(map(len, bodies)), excerpts_of, bodies, *more))

    def keep(self) -> None:
        """Store the text of the attempt whose successful response begins, as the latest of the conversation."""
        exchange, body = self._exchange, self._own
        if exchange is not None and exchange.id is not None and body is not None:
            self._texts.keep(exchange.owner, exchange.id, exchange.sent, body)
        self._own = self._earlier = None


def _redact(mask: Callable[[str], str], secrets: tuple[str, ...], text: str) -> str:
    """Return a text without credentials: those of the exchange, and everything like a key."""
    data = redact(text.encode(errors="surrogatepass"), secrets)
    return mask(data.decode(errors="replace"))


# Excerpts


@attrs.frozen(repr=False)
class Excerpt:
    """A part of a text: the unchanged characters ``before`` the difference, the ``changed`` ones, and those ``after``.

    ``is_start`` and ``is_end``: the part begins at the start of the text, or ends at its end."""

    before: str
    changed: str
    after: str
    is_start: bool
    is_end: bool


@attrs.frozen(repr=False)
class Excerpts:
    """The excerpts of two requests around their first difference, at ``path`` of the newer one as sent.

    One is ``None`` if its request has nothing at this position."""

    path: str
    old: Excerpt | None
    new: Excerpt | None


def excerpts_of(
    bodies: tuple[bytes, bytes], prompts: "tuple[PromptDigest, PromptDigest]", difference: "Difference",
    mask: Callable[[str], str],
) -> Excerpts | None:  # fmt: skip
    """Return the excerpts of an earlier and a newer request around the difference ``difference`` of their prompts.

    ``mask`` removes credentials. The result is ``None`` if neither request has a text there, such as for a header."""
    if difference.part == "settings":
        paths = [difference.at] * 2
    elif difference.part == "tools" and difference.path:
        paths = [difference.path] * 2
    else:
        blocks = [one.block_before(difference.position + 1) for one in prompts]
        paths = ["" if block is None else block.path for block in blocks]
    values = [_value_or_none(body, path) for body, path in zip(bodies, paths, strict=True)]
    if values == [None, None]:
        return None
    texts = [None if value is None else _text_of(value) for value in values]
    if difference.at.endswith("(respelled)") or None in texts or texts[0] == texts[1]:
        texts = [None if one is None else msgspec.json.format(one, indent=-1).decode() for one in values]
    return Excerpts(paths[1] or paths[0], *_cut(texts, mask))


def _value_or_none(body: bytes, path: str) -> bytes | None:
    """Return the JSON at ``path`` in ``body``, ``None`` without one."""
    value = msgspec.Raw(body)
    try:
        for name, number in _STEP.findall(path):
            value = _LIST.decode(value)[int(number)] if number else _OBJECT.decode(value)[name]
    except (*NOT_JSON, LookupError):
        return None
    return bytes(value) if path else None


def _text_of(raw: bytes) -> str | None:
    """Return the text of a JSON string or of a content block, ``None`` for any other value."""
    value: Any = msgspec.json.decode(raw)
    if isinstance(value, dict):
        value = next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), None)
    return value if isinstance(value, str) else None


def _cut(texts: _Texts, mask: Callable[[str], str]) -> tuple[Excerpt | None, Excerpt | None]:
    at = shared_start(texts[0] or "", texts[1] or "")
    begin = max(at - _WIDE, 0)
    wide = [None if text is None else mask(text[begin : at + _WIDE]) for text in texts]
    one, other = wide[0] or "", wide[1] or ""
    start = shared_start(one, other)  # masked credentials have another length
    end = min(shared_start(one[::-1], other[::-1]), len(one) - start, len(other) - start)
    first = max(start - _BEFORE, 0)
    found: list[Excerpt | None] = []
    for text, whole in zip(wide, texts, strict=True):
        if text is None or whole is None:
            found.append(None)
            continue
        last = min(first + EXCERPT, len(text))
        changed = min(len(text) - end, last)
        is_whole_start, is_whole_end = begin == 0 == first, at + _WIDE >= len(whole) and last == len(text)
        found.append(Excerpt(text[first:start], text[start:changed], text[changed:last], is_whole_start, is_whole_end))
    return found[0], found[1]


def shared_start(one: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
