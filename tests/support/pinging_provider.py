"""A provider that sends keep-alives in place of an answer."""

from typing import Final

import attrs

from tests.support.upstreams import Raw, Seen, Upstream

INTERVAL: Final = 0.02
FOREVER: Final = 1500
"""Keep-alives for half a minute, longer than any test waits."""


@attrs.frozen
class Pings:
    """A response of ``first``, then each 20 ms ``ping``, and after ``pings`` of them ``rest``."""

    kind: str
    first: bytes
    ping: bytes
    pings: int = FOREVER
    rest: bytes = b""


class PingingProvider(Upstream):
    """A provider with a response for each word of a request's path or body."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.responses: dict[str, Pings] = {}

    def send(self, response: Pings, word: str = "") -> None:
        """Send ``response`` to requests with ``word``."""
        self.responses[word] = response

    def answer(self, received: Seen) -> Raw:
        request = received.path.encode() + received.body
        found = next(one for word, one in self.responses.items() if word.encode() in request)
        pieces = (found.first, *[found.ping] * found.pings, found.rest)
        return Raw(200, (("content-type", found.kind),), pieces, "close", INTERVAL)
