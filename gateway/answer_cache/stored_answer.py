"""An answer of a provider as it is kept, and what makes it come out the same each time."""

import hashlib
import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import msgspec

from providers.neutral.codec import ID_SOURCE


@attrs.frozen
class AnswerStamp:
    """The ids and the time that the gateway writes into an answer of which it makes another API's: the same whenever it
    is written (theopenco/llmgateway#3899). ``created`` is Unix seconds."""

    created: int
    seed: bytes = attrs.field(factory=lambda: secrets.token_bytes(16))

    def ids(self, salt: bytes) -> Iterator[str]:
        """The ids of one writing, each 24 characters; ``salt`` tells one from another."""
        for number in itertools.count():
            yield hashlib.blake2b(b"%d" % number, key=self.seed, salt=salt, digest_size=12).hexdigest()


@contextmanager
def given_ids(ids: Iterator[str]) -> Iterator[None]:
    """A block in which all ids that the gateway makes are taken from ``ids``."""
    before = ID_SOURCE.set(ids.__next__)
    try:
        yield
    finally:
        ID_SOURCE.reset(before)


@attrs.frozen
class StoredAnswer:
    """The ``body`` of a provider's good answer, byte for byte. ``at`` is when it had come, in Unix seconds; ``pauses``
    are the milliseconds before each of its pieces, and how long those are."""

    at: float
    content_type: str
    stamp: AnswerStamp
    body: bytes = attrs.field(repr=False)
    pauses: tuple[tuple[int, int], ...] = ()


_FORM = 1


def encoded(answer: StoredAnswer) -> bytes:
    stamp = answer.stamp
    return msgspec.msgpack.encode(
        (_FORM, answer.at, answer.content_type, stamp.created, stamp.seed, answer.body, answer.pauses)
    )


_DECODER = msgspec.msgpack.Decoder(tuple[int, float, str, int, bytes, bytes, tuple[tuple[int, int], ...]])


def decoded(data: bytes) -> StoredAnswer | None:
    """``None`` for what another version has written, or what is broken."""
    try:
        form, at, content_type, created, seed, body, pauses = _DECODER.decode(data)
    except msgspec.MsgspecError:
        return None
    return StoredAnswer(at, content_type, AnswerStamp(created, seed), body, pauses) if form == _FORM else None
