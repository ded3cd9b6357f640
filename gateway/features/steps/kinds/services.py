"""Services that check texts: the requests to them, and the pieces of long texts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs
import msgspec

from gateway.features.steps.joined_texts import part_spans, without_repetitions
from gateway.features.steps.json_texts import without_surrogates
from gateway.features.steps.kinds import KindContext
from gateway.features.steps.runner import UncheckedText
from gateway.http.offload import offload
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON
from trigate.steps import Check, Finding, Passage

LONGEST_REPLY: Final = 2**20
"""Bytes of a reply."""

PIECE: Final = 10_000
"""The most characters of one text in a request. Many services cut longer texts, or reject them."""

OVERLAP: Final = 1_000
"""Characters at the end of a piece that the next piece repeats. A finding of at most this length is whole in one."""

BATCH: Final = 1_000_000
"""Characters of one request."""


@attrs.frozen(eq=False, repr=False)
class SentPiece:
    """The characters of a passage from ``start`` on, as many as ``text`` has. ``text`` can be sent: half of a surrogate
    pair is U+FFFD in it."""

    passage: Passage
    start: int
    text: str

    @property
    def is_last(self) -> bool:
        """Whether it is the end of its passage."""
        return self.start + len(self.text) >= len(self.passage.text)


def pieces_of(passages: Iterable[Passage]) -> Iterator[SentPiece]:
    """Yield the pieces of ``passages``; those of a long text overlap. Joined parts follow their text, each alone."""
    for passage in passages:
        text = without_surrogates(passage.text)
        for first, last in ((0, len(text)), *part_spans(passage)):
            for start in range(first, max(first + 1, last - OVERLAP), PIECE - OVERLAP):
                yield SentPiece(passage, start, text[start : min(start + PIECE, last)])


def batches_of(pieces: Sequence[SentPiece]) -> Iterator[list[SentPiece]]:
    """Yield the pieces for each request."""
    batch: list[SentPiece] = []
    size = 0
    for piece in pieces:
        if batch and size + len(piece.text) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.text)
    if batch:
        yield batch


class CheckingService:
    """A service at a fixed URL, with connections of its own: steps that wait for a free connection of the providers
    could wait for their own request.

    It gets no header of a client and no credential but its own. Redirects are failures."""

    def __init__(self, url: str, headers: Mapping[str, str], context: KindContext) -> None:
        self._url = url
        own = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        self._headers = tuple({**own, **headers}.items())
        self._context = context
        self._upstream: Upstream | None = None

    async def __aenter__(self) -> Self:
        self._upstream = Upstream(ca_path=self._context.ca_path, max_chunk=LONGEST_REPLY)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._upstream is not None:
            await self._upstream.aclose()

    async def __call__(self, check: Check) -> list[Finding]:
        """Return the findings. Raises ``UncheckedText``."""
        found: list[Finding] = []
        for batch in batches_of([*pieces_of(check.passages)]):
            found += await self.check_batch(check, batch)
        return without_repetitions(found)  # the pieces of a text overlap

    async def check_batch(self, check: Check, batch: Sequence[SentPiece]) -> Sequence[Finding]:
        """Return the findings in the texts of one request. Raises ``UncheckedText``."""
        raise NotImplementedError

    async def post(self, content: Mapping[str, Any], size: int) -> Any:
        """Send ``content``, texts of ``size`` characters, and return the JSON of the reply.

        Raises ``UncheckedText``, whose message quotes neither."""
        assert self._upstream is not None, "the service is open"
        body = await offload(size, msgspec.json.encode, content)
        request = UpstreamRequest("POST", self._url, self._headers, body, max_chunk=LONGEST_REPLY)
        try:
            async with await self._upstream.send(request) as response:
                if not 200 <= response.status < 300:
                    raise UncheckedText("error", f"the service returned status {response.status}")
                reply = await response.read(LONGEST_REPLY)
        except UpstreamError as error:
            if error.cause == "too_large":
                text = f"the reply of the service is larger than {LONGEST_REPLY} bytes"
                raise UncheckedText("malformed", text) from None
            raise UncheckedText("error", f"the service is unreachable: {error.cause}") from None
        except GatewayError:
            raise UncheckedText("error", "the service is unreachable") from None
        try:
            return await offload(len(reply), msgspec.json.decode, reply)
        except NOT_JSON:
            raise UncheckedText("malformed", "the reply of the service is not JSON") from None
