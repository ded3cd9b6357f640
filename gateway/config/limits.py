"""Limits on the size and number of requests, for all clients and for each."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from configfile.keys import parts, setting
from configfile.kinds import Count, Natural, Size


@attrs.frozen(repr=False)
class ClientLimits:
    """The limits of one client; requests beyond them are refused. 0 is no limit, ``None`` the limit for all clients."""

    in_flight: Count | None = setting(
        "Simultaneous requests, including background turns and requests on WebSockets.",
        None,
        shown="half of `limits.in_flight`",
    )
    connections: Count | None = setting(
        "Simultaneous connections, counted for the client of the last admitted request. Set `0` behind a proxy.",
        None,
        shown="half of `limits.connections`, if the file sets that",
        absent="by descriptors",
    )
    websockets: Count | None = setting("Open WebSockets.", None, shown="half of `limits.in_flight`")
    upstream_connections: Count | None = setting(
        "Simultaneous connections to providers. One more request waits up to 5 s, then gets 429.",
        None,
        shown="half of `limits.upstream_connections`, if the file sets that",
    )
    bodies: Size | None = setting("Memory for the bodies of open requests.", None, shown="half of `limits.bodies`")
    spool: Size | None = setting(
        "Disk space for uploads whose file precedes `model`. A larger upload gets 413.",
        None,
        shown="half of `limits.spool`",
    )
    stored: Size | None = setting(
        "Bytes in the [state storage](#state_storage). Beyond them, the client's own oldest conversations and records "
        "of files are removed.",
        None,
        shown="no extra limit",
    )
    parts: Mapping[type, Any] = parts()


_REQUEST_BODY: Final = 64 * 2**20
_ELEMENTS: Final = 200_000


@attrs.frozen(repr=False)
class Limits:
    """The largest sizes of requests and responses, and numbers of simultaneous ones."""

    request_body: Size = setting(
        "The size of a request, before and after decompression. A larger one gets 413.", _REQUEST_BODY
    )
    elements: Count = setting(
        "Objects, arrays and commas (outside texts) in the JSON of a request or its conversation. More get 413. A "
        "compressed body may have one for each compressed byte, and at least 50,000.",
        _ELEMENTS,
        shown="`200000`; `500000` for embeddings, whose inputs may be token ids",
    )
    bodies: Size = setting(
        "Memory in each worker for request bodies until the response begins: three bytes per byte and 400 per element; "
        "complete responses count twice. Beyond it a body gets 503 with `retry-after`, but alone every body fits. One "
        "client may use half, then gets 429. Raise it for many long conversations.",
        256 * 2**20,
    )
    spool: Size | None = setting(
        "Disk space in each worker (`TMPDIR`) for uploads whose file precedes `model`, beyond 1 MiB. Without space "
        "they get 503 with `retry-after`; a larger file gets 413. One client may use half, then gets 429.",
        None,
        shown="`2GiB`, at most half of the free space; in a `TMPDIR` in memory, an eighth of the memory limit",
        absent="by free space",
    )
    event: Size = setting("The size of one event in a stream.", 16 * 2**20)
    answer: Size = setting("The size of a response that is not streamed.", 64 * 2**20)
    in_flight: Natural = setting("Simultaneous requests in each worker. More get 503 with `retry-after`.", 1024)
    connections: Count | None = setting(
        "Client connections in each worker. One more replaces an idle connection. If all are busy, it gets 503 with "
        "`retry-after`, unless it is a health check, and is closed. `0`: no limit.",
        None,
        shown=("the open file limit (`ulimit -n`), less `in_flight`; at most 4096, or four times `in_flight`"),
        absent="by descriptors",
    )
    connections_per_address: Count | None = setting(
        "Connections from one address (IPv6: one /64) in each worker. One more gets 429 and is closed. Loopback, "
        "Unix sockets and `trusted_proxies` are exempt. `0`: no limit.",
        None,
        shown="half of `connections`, at least `in_flight`, because a proxy is one address",
        absent="half",
    )
    upstream_connections: Count = setting(
        "Simultaneous connections to providers in each worker. One more request waits up to 5 s, then gets 503 with "
        "`retry-after`. `0`: no limit.",
        0,
    )
    per_client: ClientLimits = setting(
        "The share of each client in these limits.",
        ClientLimits(),
    )

    def body_on(self, own: int | None) -> int:
        """Return the largest request body on a path whose default is ``own``."""
        return self.request_body if own is None or self.request_body != _REQUEST_BODY else own

    def with_elements(self, own: int | None) -> "Limits":
        """Return the limits on a path whose default number of elements is ``own``."""
        return self if own is None or self.elements != _ELEMENTS else attrs.evolve(self, elements=own)
