"""A request to a provider, and its headers as they go out."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import attrs

from gateway.upstream.errors import misconfigured
from providers.auth.credential import Credential

BAD_HEADER = (
    "the header {!r} has characters that HTTP forbids, often a line break after a key; correct the configuration"
)
TWO_HOSTS = "the request to the provider would have two host headers; correct `headers` in the configuration"

# RFC 9110 sections 5.1 and 5.5.
_FIELD_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?")


@attrs.frozen(eq=False, repr=False)
class UploadedBody:
    """A request's body that is sent as it comes: ``length`` bytes, in chunks where that is ``None``. Its ``pieces`` are
    read once, so that the request goes out once."""

    pieces: AsyncIterator[bytes]
    length: int | None = None


@attrs.frozen(eq=False, slots=False)  # one for each request, and made with fewer calls
class UpstreamRequest:
    """One request to a provider.

    ``headers`` are sent in this order as they are, less the framing ones, which follow from ``body``. A ``host`` among
    them wins over the host of ``url``; the TLS server name is always that of ``url``. ``connect_timeout`` (seconds)
    holds for the name and the TCP connection together, and again for the TLS handshake and for a proxy's answer.
    ``max_chunk`` (bytes) bounds each chunk of the answer, where that is to be held whole; by default the upstream's own
    bound does. ``placed(request, waited)`` is called once it has its slot among those under way, with whether it had to
    wait for it; ``connected()`` once there is a connection, if one is made for it; ``again()`` before it is sent a
    second time because a kept connection was dead, which it allows or not; ``before_end()`` right before the last bytes
    of ``body`` are written, because the provider may have all of it then. ``upgrade`` is the protocol that the
    connection is to speak from the answer on (RFC 9110, section 7.8), which a 101 says that it does. An ``upload``
    takes the place of ``body``, over a connection of its own.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)  # credentials
    body: bytes = attrs.field(default=b"", repr=False)
    connect_timeout: float = 5.0
    max_chunk: int | None = None
    upgrade: str | None = None
    placed: Callable[["UpstreamRequest", bool], object] | None = attrs.field(default=None, repr=False, eq=False)
    connected: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)
    again: Callable[[], bool] | None = attrs.field(default=None, repr=False, eq=False)
    before_end: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)
    upload: UploadedBody | None = attrs.field(default=None, repr=False, eq=False)

    def ready(
        self,
        headers: tuple[tuple[str, str], ...],
        max_chunk: int | None,
        placed: Callable[["UpstreamRequest", bool], object],
        again: Callable[[], bool],
        before_end: Callable[[], object],
        upload: UploadedBody | None,
    ) -> "UpstreamRequest":
        """Return the request with ``headers`` added and its callbacks set. ``attrs.evolve`` takes three times as long,
        and each request is sent through this."""
        return UpstreamRequest(
            self.method, self.url, (*self.headers, *headers), self.body, self.connect_timeout, max_chunk, self.upgrade,
            placed, self.connected, again, before_end, upload,
        )  # fmt: skip


def wire_headers(request: UpstreamRequest, host: bytes) -> list[tuple[bytes, bytes]]:
    """``host`` is what the URL says. Raises ``UpstreamError``, which does not quote a value: it may be a credential."""
    names = [name.lower() for name, _ in request.headers]
    if names.count("host") > 1:
        raise misconfigured(TWO_HOSTS)
    headers = [] if "host" in names else [(b"host", host)]
    for name, value in request.headers:
        if not (_FIELD_NAME.fullmatch(name) and _is_value(value)):
            raise misconfigured(BAD_HEADER.format(name))
        if name.lower() not in ("content-length", "transfer-encoding"):
            headers.append((name.encode("ascii"), value.encode("latin-1")))
    if request.upgrade is not None:
        headers += [(b"connection", b"Upgrade"), (b"upgrade", request.upgrade.encode("ascii"))]
    if request.upload is not None:
        length = request.upload.length
        headers.append((b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length))
    elif request.body or request.method == "POST":
        headers.append((b"content-length", b"%d" % len(request.body)))
    return headers


def _is_value(text: str) -> bool:
    if text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]:  # as nearly all are
        return True
    return _FIELD_VALUE.fullmatch(text) is not None


class CredentialSource(Protocol):
    """Where the credential of one model entry comes from."""

    async def credential(self) -> Credential | None:
        """The credential that holds now, fetched or refreshed first where that is due; ``None`` where there is none.

        One refresh runs at a time: who asks meanwhile waits for it and gets what it has brought. Whoever is cancelled
        while waiting takes nobody else's refresh along. Raises ``GatewayError`` where none can be had."""
        ...

    async def renewed(self, refused: Credential) -> Credential | None:
        """Another credential than ``refused``, which the provider did not take; ``None`` where there is none now.
        Waits and raises as ``credential`` does."""
        ...
