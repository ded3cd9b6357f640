"""Request bodies that come compressed (RFC 9110, section 8.4). Codex compresses long conversations with zstd."""

import importlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from streams.errors import GatewayError, invalid

Decoder: TypeAlias = Callable[[bytes, int], bytes]
"""A body without its coding. Raises ``_Bomb`` beyond so many bytes, ``ValueError`` for a body that is not whole."""

RATIO = 100
"""The most bytes that one of a body may unfold to beyond the first ``UNFOLDED``. Prompts come three to twenty times
smaller; a bomb a thousand times."""

UNFOLDED = 4 * 2**20
"""What any body may unfold to: a million tokens, the longest context of models, in which the same file may have been
read time and again."""

ZSTD_WINDOW_LOG = 23  # 8 MiB, the most that RFC 9659 allows in HTTP: a frame may ask for much more memory than it fills


class _Bomb(Exception):
    """The body is larger than it may be."""


def read_coding(value: str) -> str | None:
    """The one coding in a ``content-encoding`` header, ``None`` for none.

    Raises ``GatewayError`` (415) for a coding that is not known here, and for several on top of one another, which no
    client uses."""
    codings = [word for part in value.split(",") if (word := part.strip().lower()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in DECODERS:
        return codings[0]
    known = ", ".join(name for name in DECODERS if not name.startswith("x-"))
    message = f"content-encoding {value[:60]!r} is not supported: send the body uncompressed or in one of {known}"
    raise GatewayError("invalid_request", message, status=415, headers=(("accept-encoding", known),))


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """``body`` without ``coding`` (a key of ``DECODERS``). Blocking: some milliseconds for each MB.

    Raises ``GatewayError``: 413 if the result is larger than ``limit`` bytes or out of all proportion to the body, and
    never more than that is made; 400 if the body is damaged or cut short."""
    warranted = max(UNFOLDED, RATIO * len(body))
    try:
        return DECODERS[coding](body, min(limit, warranted))
    except _Bomb:
        message = f"the decompressed request body is larger than the limit of {limit} bytes"
        if warranted < limit:
            message = (
                f"the request body is more than {RATIO} times larger than its compressed size: send it uncompressed"
            )
        raise GatewayError("too_large", message) from None
    except ValueError:
        raise invalid(f"the request body is not valid {coding}, although its content-encoding is {coding}") from None


def _gzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, 16 + zlib.MAX_WBITS, limit)


def _deflate(body: bytes, limit: int) -> bytes:
    """RFC 9110 means the zlib format, and some clients send it without its two bytes of header."""
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _inflate(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, limit)


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    decoder = zlib.decompressobj(window)
    try:
        data = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError from error
    return _whole(data, decoder, limit)


def _whole(data: bytes, decoder: Any, limit: int) -> bytes:
    if len(data) > limit:
        raise _Bomb
    # One member only: a million empty ones would take minutes, and nobody sends two.
    if not decoder.eof or decoder.unused_data:
        raise ValueError
    return data


def _zstd(module: Any) -> Decoder:
    options = {module.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}

    def decode(body: bytes, limit: int) -> bytes:
        decoder = module.ZstdDecompressor(options=options)
        try:
            return _whole(decoder.decompress(body, limit + 1), decoder, limit)
        except module.ZstdError as error:
            raise ValueError from error

    return decode


def _decoders() -> Mapping[str, Decoder]:
    found: dict[str, Decoder] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
    for name in ("compression.zstd", "backports.zstd"):  # Python 3.14 has it; before, a package with the same API
        try:
            return {**found, "zstd": _zstd(importlib.import_module(name))}
        except ImportError:
            continue
    return found


DECODERS: Mapping[str, Decoder] = _decoders()
"""What can be read here, by the name of the coding."""
