"""Decompresses request bodies (RFC 9110, section 8.4). Codex compresses long conversations with zstd."""

from gateway.http.codings import DECODERS, PIECE
from streams.errors import GatewayError, invalid

RATIO = 100
"""The maximum compression ratio beyond the first ``UNFOLDED`` bytes. Prompts compress by a factor of three to twenty, a
bomb by a thousand."""

UNFOLDED = 4 * 2**20
"""Bytes to which any body may decompress: a million tokens, the longest context of models, possibly of repeated
text."""

MEMBERS = {"gzip": 10_000, "x-gzip": 10_000}
"""The most members of a body, by coding: each takes some microseconds, even if it is empty. Claude Code can compress a
body in blocks. A frame of zstd takes far longer, and no client sends two."""

CODINGS = tuple(name for name in DECODERS if name != "br")
"""The supported codings."""


def read_coding(value: str) -> str | None:
    """Return the coding in a ``content-encoding`` header, or ``None``.

    Raises ``GatewayError`` (415) for an unknown coding and for several codings, which no client uses."""
    codings = [word for part in value.split(",") if (word := part.strip().lower()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in CODINGS:
        return codings[0]
    known = ", ".join(name for name in CODINGS if not name.startswith("x-"))
    message = f"content-encoding {value[:60]} is not supported: send the body uncompressed, or with one of {known}"
    raise GatewayError("invalid_request", message, status=415, headers=(("accept-encoding", known),))


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Return ``body`` without ``coding`` (one of ``CODINGS``).

    Blocks for some milliseconds per MB. Raises ``GatewayError``: 413 as soon as the result exceeds ``limit`` bytes or
    the permitted ratio, 400 if the body is damaged or incomplete."""
    warranted = max(UNFOLDED, RATIO * len(body))
    decoder, size = DECODERS[coding](MEMBERS.get(coding, 1)), 0
    parts: list[bytes] = []
    try:
        for start in range(0, len(body), PIECE):  # at the end of each member, the rest of a piece is copied
            for part in decoder.feed(body[start : start + PIECE]):
                parts.append(part)
                size += len(part)
                if size > min(limit, warranted):
                    raise _too_large(limit, warranted)
        if not decoder.is_whole:
            raise ValueError
    except ValueError:
        raise invalid(f"the request body is not valid {coding}, although its content-encoding is {coding}") from None
    return b"".join(parts)


def _too_large(limit: int, warranted: int) -> GatewayError:
    message = f"the decompressed request body is larger than the limit of {limit} bytes"
    if warranted < limit:
        message = f"the request body is more than {RATIO} times larger than its compressed size: send it uncompressed"
    return GatewayError("too_large", message)
