"""Decompresses request bodies (RFC 9110, section 8.4). Codex compresses long conversations with zstd."""

import importlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from streams.errors import GatewayError, invalid

Decoder: TypeAlias = Callable[[bytes, int], bytes]
"""Decodes a body of one coding. Raises ``_Bomb`` beyond the given number of bytes, ``ValueError`` for an incomplete
body."""

RATIO = 100
"""The maximum compression ratio beyond the first ``UNFOLDED`` bytes. Prompts compress by a factor of three to twenty, a
bomb by a thousand."""

UNFOLDED = 4 * 2**20
"""Bytes to which any body may decompress: a million tokens, the longest context of models, possibly of repeated
text."""

MEMBERS = 10_000
"""The most gzip members of a body: each takes some microseconds, even if it is empty."""

PIECE = 16 * 1024  # compressed bytes: at the end of each member, the rest of a piece is copied

ZSTD_WINDOW_LOG = 23  # 8 MiB, the limit of RFC 9659 for HTTP: a frame may request much more memory than it fills


class _Bomb(Exception):
    """The decompressed body is too large."""


def read_coding(value: str) -> str | None:
    """Return the coding in a ``content-encoding`` header, or ``None``.

    Raises ``GatewayError`` (415) for an unknown coding and for several codings, which no client uses."""
    codings = [word for part in value.split(",") if (word := part.strip().lower()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in DECODERS:
        return codings[0]
    known = ", ".join(name for name in DECODERS if not name.startswith("x-"))
    message = f"content-encoding {value[:60]} is not supported: send the body uncompressed, or with one of {known}"
    raise GatewayError("invalid_request", message, status=415, headers=(("accept-encoding", known),))


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Return ``body`` without ``coding`` (a key of ``DECODERS``).

    Blocks for some milliseconds per MB. Raises ``GatewayError``: 413 as soon as the result exceeds ``limit`` bytes or
    the permitted ratio, 400 if the body is damaged or incomplete."""
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
    """Decode gzip of one or several members (RFC 1952, section 2.2). Claude Code can compress a body in blocks."""
    parts: list[bytes] = []
    start = size = 0
    for _ in range(MEMBERS):
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not decoder.eof:
            if not (piece := body[start : start + PIECE]):
                raise ValueError
            try:
                parts.append(decoder.decompress(piece, limit + 1 - size))
            except zlib.error as error:
                raise ValueError from error
            size += len(parts[-1])
            if size > limit:
                raise _Bomb
            start += len(piece) - len(decoder.unused_data)
        if start == len(body):
            return b"".join(parts)
    raise ValueError


def _deflate(body: bytes, limit: int) -> bytes:
    """Decode zlib's format, which RFC 9110 requires, or the bare format that some clients send."""
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    decoder = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    try:
        data = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError from error
    return _decompress_whole(data, decoder, limit)


def _decompress_whole(data: bytes, decoder: Any, limit: int) -> bytes:
    if len(data) > limit:
        raise _Bomb
    # Only one frame: a million empty ones would take minutes, and no client sends two.
    if not decoder.eof or decoder.unused_data:
        raise ValueError
    return data


def _zstd(module: Any) -> Decoder:
    options = {module.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}

    def decode(body: bytes, limit: int) -> bytes:
        decoder = module.ZstdDecompressor(options=options)
        try:
            return _decompress_whole(decoder.decompress(body, limit + 1), decoder, limit)
        except module.ZstdError as error:
            raise ValueError from error

    return decode


def _decoders() -> Mapping[str, Decoder]:
    found: dict[str, Decoder] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
    for name in ("compression.zstd", "backports.zstd"):  # the standard one needs Python 3.14
        try:
            return {**found, "zstd": _zstd(importlib.import_module(name))}
        except ImportError:
            continue
    return found


DECODERS: Mapping[str, Decoder] = _decoders()
"""The decoder of each supported coding."""
