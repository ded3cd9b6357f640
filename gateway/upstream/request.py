"""A request to a provider, and its headers on the wire."""

import re
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Protocol

import attrs

from gateway.upstream.errors import misconfigured
from providers.auth.signer import Credential

BAD_HEADER = (
    "the header {!r} has characters that HTTP forbids, often a line break after a key; correct the configuration"
)
TWO_HOSTS = "the request to the provider would have two host headers; correct `headers` in the configuration"

# RFC 9110 sections 5.1 and 5.5.
_FIELD_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?")


@attrs.frozen(eq=False, repr=False)
class UploadedBody:
    """A request's body that is streamed: ``length`` bytes, or chunks if that is ``None``. ``pieces`` can be read only
    once, so the request is sent only once."""

    pieces: AsyncIterator[bytes]
    length: int | None = None


@attrs.frozen(eq=False, slots=False)  # created for each request; cheaper to construct without slots
class UpstreamRequest:
    """One request to a provider.

    ``headers`` are sent unchanged in this order, except framing headers, which depend on ``body``. A ``host`` among
    them replaces the host of ``url``; the TLS server name is always the one in ``url``. ``connect_timeout`` (seconds)
    applies to the name lookup and TCP connection together, and again to the TLS handshake and to a proxy's response.
    ``max_chunk`` (bytes) bounds each chunk of a response that is read as a whole; the default is the upstream's.

    ``on_send(request, waited)`` is called when the request has its slot, with whether it had to wait; ``on_connect()``
    after a new connection was opened for it; ``claim_resend()`` before it is sent a second time after a dead
    connection, and returns whether it may be; ``before_end()`` right before the last bytes of ``body`` are written,
    after which the provider may have all of it; ``after_end()`` right after them, to do work while the provider does
    its own.

    ``upgrade`` is the protocol that a 101 switches the connection to (RFC 9110, section 7.8). An ``upload`` replaces
    ``body`` and uses a new connection."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)  # may contain credentials
    body: bytes = attrs.field(default=b"", repr=False)
    connect_timeout: float = 5.0
    max_chunk: int | None = None
    upgrade: str | None = None
    on_send: Callable[["UpstreamRequest", bool], object] | None = attrs.field(default=None, repr=False, eq=False)
    on_connect: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)
    claim_resend: Callable[[], bool] = attrs.field(default=lambda: True, repr=False, eq=False)
    before_end: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)
    upload: UploadedBody | None = attrs.field(default=None, repr=False, eq=False)
    after_end: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)

    @property
    def identity(self) -> object:
        """The parts by which a sent request is recognized, and which differ from those of a concurrent one."""
        return self.url, self.headers

    def ready(
        self,
        headers: tuple[tuple[str, str], ...],
        max_chunk: int | None,
        on_send: Callable[["UpstreamRequest", bool], object],
        claim_resend: Callable[[], bool],
        before_end: Callable[[], object],
        upload: UploadedBody | None,
        after_end: Callable[[], object] | None,
    ) -> "UpstreamRequest":
        """Return the request with ``headers`` added and its callbacks set.

        Every request passes through this, and ``attrs.evolve`` takes three times as long."""
        return UpstreamRequest(
            self.method, self.url, (*self.headers, *headers), self.body, self.connect_timeout, max_chunk, self.upgrade,
            on_send, self.on_connect, claim_resend, before_end, upload, after_end,
        )  # fmt: skip


def wire_headers(request: UpstreamRequest, host: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers on the wire; ``host`` is the one in the URL.

    Raises ``UpstreamError``, which does not quote a value, because it may be a credential."""
    text = "".join([value for _, value in request.headers])
    is_plain = text.isascii() and text.isprintable()  # as nearly all are
    headers, has_host = [(b"host", host)], False
    for name, value in request.headers:
        lower, encoded = _read_name(name)
        has_plain_value = is_plain and value[:1] != " " != value[-1:]
        if not (encoded and (has_plain_value or _FIELD_VALUE.fullmatch(value))):
            raise misconfigured(BAD_HEADER.format(name))
        if lower == "host":
            if has_host:
                raise misconfigured(TWO_HOSTS)
            del headers[0]
            has_host = True
        if lower not in ("content-length", "transfer-encoding"):
            headers.append((encoded, value.encode("latin-1")))
    if request.upgrade is not None:
        headers += [(b"connection", b"Upgrade"), (b"upgrade", request.upgrade.encode("ascii"))]
    if request.upload is not None:
        length = request.upload.length
        headers.append((b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length))
    elif request.body or request.method == "POST":
        headers.append((b"content-length", b"%d" % len(request.body)))
    return headers


@lru_cache(64)
def _read_name(name: str) -> tuple[str, bytes]:
    """Return the name of a header in lower case, and its bytes on the wire, ``b""`` if it is invalid."""
    return name.lower(), name.encode("ascii") if _FIELD_NAME.fullmatch(name) else b""


class CredentialSource(Protocol):
    """The source of one model entry's credential."""

    def for_client(self, client: str | None, headers: tuple[tuple[str, str], ...]) -> "CredentialSource":
        """Return the source for a request of ``client`` with ``headers``: this one, if all clients share it."""
        return self

    async def credential(self) -> Credential | None:
        """Return the current credential, fetched or refreshed if that is due; ``None`` if there is none.

        Concurrent callers share one refresh, which continues if one of them is cancelled. Raises ``GatewayError`` if
        there is no valid credential."""

    async def renew(self, refused: Credential) -> Credential | None:
        """Return another credential than ``refused``, which the provider rejected, or ``None``.

        Waits and raises as ``credential`` does."""
