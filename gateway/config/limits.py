"""How much may pass at the same time, and how large: in all, and of one client."""

from typing import Final

import attrs

from configfile.keys import setting
from configfile.kinds import Count, Size


@attrs.frozen
class ClientLimits:
    """The shares of one client. The gateway refuses requests beyond them. 0 is no limit, ``None`` the limit of all
    clients."""

    in_flight: Count | None = setting(
        "Requests at once, turns in the background and requests on websockets included; one more is a 429 with "
        "`retry-after`.",
        None,
        shown="half of `limits.in_flight`",
    )
    connections: Count | None = setting(
        "Connections at once, each that of the client whose request was last let in on it; a request on one more is a "
        "429, and closes it. Behind a proxy, whose connections are everybody's, leave it at `0`.",
        None,
        shown="half of `limits.connections`, where the file gives that",
        absent="by descriptors",
    )
    websockets: Count | None = setting("Websockets open at once.", None, shown="half of `limits.in_flight`")
    viewers: Count | None = setting(
        "Pages of the live view at once, of the 16 that there are; the holder of `ui_key` always gets in.",
        None,
        shown="half of these",
    )
    upstream_connections: Count | None = setting(
        "Connections to providers in use at the same time. One more request waits for up to 5 s, then gets a 429.",
        None,
        shown="half of `limits.upstream_connections`, where the file gives that",
    )
    bodies: Size | None = setting(
        "Memory for the bodies of requests under way; beyond it a 429.", None, shown="half of `limits.bodies`"
    )
    stored: Size | None = setting(
        "Bytes in the [state storage](#state_storage); beyond them the client's own oldest conversations go.",
        None,
        shown="no limit of its own",
    )


_REQUEST_BODY: Final = 64 * 2**20
_ELEMENTS: Final = 200_000


@attrs.frozen
class Limits:
    """The sizes of requests and answers, and how many there may be at the same time."""

    request_body: Size = setting(
        "Of a request, as it comes and once it is decompressed; a larger one is a 413.", _REQUEST_BODY
    )
    elements: Count = setting(
        "Objects, arrays and commas in the JSON of a request or of the conversation that it goes on from, those in "
        "texts not counted; more are a 413. They take far more memory and work than bytes do: a long session has some "
        "ten thousands. What comes compressed may have as many as it has compressed bytes, and 50,000 in any case.",
        _ELEMENTS,
        shown="`200000`; `500000` for embeddings, whose texts may be ids of tokens",
    )
    bodies: Size = setting(
        "Memory for the bodies of requests under way in each worker: three bytes for each of theirs and 400 for each "
        "element, from its arrival until the answer begins. One that does not fit beside the others is a 503 with "
        "`retry-after`; alone it always fits. With two client keys or more one client has half of it, beyond which its"
        " requests are a 429. Many agents with long conversations at once want more.",
        256 * 2**20,
    )
    spool: Size = setting(
        "Disk for uploads in which a file comes before `model`, in each worker: what comes before is kept until then, "
        "beyond 1 MiB in a file without a name in the directory for temporary files (`TMPDIR`). If other uploads take "
        "the room, the response is a 503 with `retry-after`; a file larger than this is a 413. Clients that send "
        "`model` first need none.",
        2 * 2**30,
    )
    event: Size = setting("Of one event in a stream.", 16 * 2**20)
    answer: Size = setting("Of an answer that is not streamed.", 64 * 2**20)
    in_flight: Count = setting("Requests at once in each worker; one more is a 503 with `retry-after`.", 1024)
    connections: Count | None = setting(
        "Clients' connections at once in each worker. One more takes the place of one that is idle; where all are busy"
        " it is answered 503 with `retry-after`, unless it is a health check, and closed. `0` is no limit.",
        None,
        shown=(
            "as many as there are descriptors for (`ulimit -n`), less one for each of `in_flight`; at most "
            "4096, or four for each of `in_flight`"
        ),
        absent="by descriptors",
    )
    connections_per_address: Count | None = setting(
        "Of these, connections from one address (of IPv6: one /64); one more is a 429, and closed. Loopback, Unix "
        "sockets and `trusted_proxies` are not held to it. `0` is no limit.",
        None,
        shown="half of `connections`, and never less than `in_flight`: a proxy in front is one address",
        absent="half",
    )
    upstream_connections: Count = setting(
        "Connections to providers in use at once in each worker. One more request waits for up to 5 s, then gets a 503"
        " with `retry-after`; a free connection goes to the waiting client that has the fewest. `0` is no limit of its"
        " own: `in_flight` is one.",
        0,
    )
    per_client: ClientLimits = setting(
        "The share of each client in what there is for all; see [below](#shares). `limits` of one of the `client_keys`"
        " goes before it.",
        ClientLimits(),
    )

    def body_on(self, own: int | None) -> int:
        """Return the bytes of a request on a path that takes ``own`` where the configuration says nothing."""
        return self.request_body if own is None or self.request_body != _REQUEST_BODY else own

    def with_elements(self, own: int | None) -> "Limits":
        """Return the limits on a path whose requests may have ``own`` elements where the configuration says nothing."""
        return self if own is None or self.elements != _ELEMENTS else attrs.evolve(self, elements=own)
