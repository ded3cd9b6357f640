"""The members of a request that a Responses provider repeats in its answer, for cached answers.

The cached bytes have those of the request that filled the cache, and the client must not get another request's
``metadata``.
"""

from collections.abc import Mapping
from typing import Final, Self

import msgspec

from gateway.upstream.http11 import BodySource
from streams.errors import GatewayError
from streams.framing import Framing, FramingError
from streams.surrogates import any_json, decode_or, tolerate_lone_surrogates

NULL: Final = msgspec.Raw(b"null")

REPEATED: Final[Mapping[str, msgspec.Raw]] = {
    "metadata": msgspec.Raw(b"{}"), "prompt_cache_key": NULL, "safety_identifier": NULL, "user": NULL,
}  # fmt: skip
"""The repeated members that are not part of the cache key, with their values in the answer to a request without them.
``service_tier`` is absent: it is the tier that the provider used."""

OWN_MEMBER: Final = "metadata"
"""A repeated member that differs between requests with the same key, unless all repeated members are in it."""

_RESPONSE: Final = "response"
"""The member of an event with the whole response."""

_decode = tolerate_lone_surrogates(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode)


class OwnMembersBody:
    """A cached ``body`` with the ``own`` members of the request that it answers."""

    def __init__(self, body: BodySource, own: Mapping[str, msgspec.Raw], framing: Framing | None, limit: int) -> None:
        """Prepare to read ``body``: a stream in ``framing`` with events of at most ``limit`` bytes, or a whole JSON
        body without one."""
        self._body = body
        self._own = own
        self._framing = framing
        self._splitter = None if framing is None else framing.splitter(limit)
        self._whole: list[bytes] = []
        self._has_ended = False

    @classmethod
    def of(cls, body: BodySource, request: bytes, framing: Framing | None, limit: int) -> Self:
        """Return the body for the provider's ``request``."""
        sent = _decode_object(request)
        own = {name: sent.get(name, default) for name, default in REPEATED.items()}
        return cls(body, {name: REPEATED[name] if bytes(raw) == b"null" else raw for name, raw in own.items()},
                   framing, limit)  # fmt: skip

    async def read(self) -> bytes:
        while not self._has_ended:
            piece = await self._body.read()
            self._has_ended = not piece
            try:
                if changed := self._change(piece):
                    return changed
            except FramingError as error:
                raise GatewayError("upstream", str(error), reason="bad_answer") from None
        return b""

    async def aclose(self) -> None:
        await self._body.aclose()

    def _change(self, piece: bytes) -> bytes:
        """Return the bytes for the client after ``piece``, which is empty at the end of the body."""
        if self._splitter is not None:
            events = self._splitter.feed(piece) if piece else [self._splitter.close()]
            return b"".join(map(self._change_event, events))
        if piece:
            self._whole.append(piece)
            return b""
        return self._with_own_members(b"".join(self._whole))

    def _change_event(self, raw: bytes) -> bytes:
        parsed = self._framing.parse(raw) if self._framing is not None and b'"response"' in raw else None
        if parsed is None or not (event := _decode_object(parsed[1])) or _RESPONSE not in event:
            return raw
        response = bytes(event[_RESPONSE])
        if (own := self._with_own_members(response)) == response:
            return raw
        event[_RESPONSE] = msgspec.Raw(own)
        name, data = parsed
        changed = msgspec.json.encode(event)
        if data in raw or self._framing is None or self._framing.writer is None:
            return raw.replace(data, changed, 1)
        return self._framing.writer().event(name, changed)  # the data has several lines

    def _with_own_members(self, response: bytes) -> bytes:
        members = _decode_object(response)
        own = {name: raw for name, raw in self._own.items() if name in members and not _is_same(raw, members[name])}
        return msgspec.json.encode(members | own) if own else response


def _is_same(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Return whether two members have the same value. All empty values are the same."""
    first, second = (decode_or(any_json, bytes(raw), None) for raw in (one, other))
    return first == second or not (first or second)


def _decode_object(data: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, none for other data."""
    return decode_or(_decode, data, {})
