"""The stored form of a provider's response, and the data that makes its translations reproducible."""

import hashlib
import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import msgspec

from providers.neutral.codec import ID_SOURCE
from streams.surrogates import NOT_JSON


@attrs.frozen(repr=False)
class AnswerStamp:
    """The ids and the time that the gateway writes when it translates a response, equal for every translation.

    ``created`` is in Unix seconds (theopenco/llmgateway#3899)."""

    created: int
    seed: bytes = attrs.field(factory=lambda: secrets.token_bytes(16))

    def ids(self, salt: bytes) -> Iterator[str]:
        """Yield ids of 24 characters for one translation; ``salt`` distinguishes translations."""
        for number in itertools.count():
            yield hashlib.blake2b(b"%d" % number, key=self.seed, salt=salt, digest_size=12).hexdigest()


@contextmanager
def use_ids(ids: Iterator[str]) -> Iterator[None]:
    """Let the gateway use ``ids`` for all ids that it generates in this block."""
    before = ID_SOURCE.set(ids.__next__)
    try:
        yield
    finally:
        ID_SOURCE.reset(before)


@attrs.frozen
class StoredAnswer:
    """The ``body`` of a provider's successful response, byte for byte.

    ``at`` is its arrival in Unix seconds. ``pauses`` has, for each piece, the milliseconds before it and its length."""

    at: float
    content_type: str
    stamp: AnswerStamp
    body: bytes = attrs.field(repr=False)
    pauses: tuple[tuple[int, int], ...] = ()


_FORM = 1


def encode_response(answer: StoredAnswer) -> bytes:
    stamp = answer.stamp
    return msgspec.msgpack.encode(
        (_FORM, answer.at, answer.content_type, stamp.created, stamp.seed, answer.body, answer.pauses)
    )


_DECODER = msgspec.msgpack.Decoder(tuple[int, float, str, int, bytes, bytes, tuple[tuple[int, int], ...]])


def decode_response(data: bytes) -> StoredAnswer | None:
    """Return the decoded response, ``None`` if it is damaged or from another version."""
    try:
        form, at, content_type, created, seed, body, pauses = _DECODER.decode(data)
    except NOT_JSON:
        return None
    return StoredAnswer(at, content_type, AnswerStamp(created, seed), body, pauses) if form == _FORM else None
