"""Streams and whole answers of providers, read by their codec."""

from collections.abc import Iterable

from providers.neutral.codec import Codec
from streams.events import Event


def read_pieces(codec: Codec, pieces: Iterable[bytes], keeps: int = 2**20) -> list[Event]:
    """Return the events of a stream that arrives in ``pieces``."""
    framing, reader = codec.wire.framing, codec.reader(keeps)
    splitter = framing.splitter(2**26)
    raws = [raw for piece in pieces for raw in splitter.feed(piece)]
    parsed = [framing.parse(raw) for raw in (*raws, splitter.close()) if raw]
    events = [event for pair in parsed if pair is not None for event in reader.take(*pair)]
    events.extend(reader.close())
    assert not reader.close()
    return events


def cut(body: bytes, step: int | None = None) -> list[bytes]:
    """Return ``body`` in pieces of ``step`` bytes, by default in one."""
    size = step or max(1, len(body))
    return [body[at : at + size] for at in range(0, len(body), size)]


def read_stream(codec: Codec, body: bytes, step: int | None = None) -> list[Event]:
    """Return the events of the stream ``body``, read in pieces of ``step`` bytes."""
    return read_pieces(codec, cut(body, step))


def read_either(codec: Codec, body: bytes) -> list[Event]:
    """Return the events of a body, a whole answer in JSON or a stream."""
    return list(codec.read_answer(body)) if body.lstrip()[:1] == b"{" else read_stream(codec, body)
