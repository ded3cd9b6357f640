"""Streams of a provider as steps release them, without a gateway."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs
import trio

from gateway.exchange.transformed import ProviderWait, transformed_pieces
from gateway.features.steps.checked_stream import CheckedStream
from gateway.features.steps.loaded import AnswerSteps, AppliedSteps, LoadedStep
from gateway.features.steps.masks import Placeholders, Span
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.session import StepSession
from gateway.features.steps.verdicts import RefusedByStep, StepRecords
from gateway.seams.open_response import OpenedResponse
from gateway.streaming.released import RELEASED, ReleasedReader
from providers.apis import CODECS
from streams.events import Event, TextDelta
from streams.pipe import Watch
from streams.timeouts import Timeouts
from trigate.steps import Check

KEY: Final = b"k" * 32
"""The key of the placeholders."""


class _Reads:
    def __init__(self, reads: Iterable[bytes]) -> None:
        self._reads = iter(reads)

    def __aiter__(self) -> "_Reads":
        return self

    async def __anext__(self) -> bytes:
        for one in self._reads:
            return one
        raise StopAsyncIteration


@attrs.define
class Released:
    """The releases of a stream, the text of each if its events are rewritten, and the refusal that ended it."""

    releases: list[bytes] = attrs.field(factory=list)
    texts: list[str] = attrs.field(factory=list)
    refused: RefusedByStep | None = None
    records: StepRecords = attrs.field(factory=StepRecords)


async def _release(
    steps: Sequence[LoadedStep],
    api: str,
    reads: Iterable[bytes],
    masked: str,
    translates: bool,
    answer_limit: int,
    on_release: Callable[[bytes], object],
) -> Released:
    found, reader = Released(), ReleasedReader()
    async with trio.open_nursery() as nursery:
        placeholders = Placeholders(KEY, "c")
        if masked:
            placeholders.mark_restorable(placeholders.text_for(Span(0, len(masked), "email"), masked))
        session = StepSession(
            AppliedSteps(tuple(steps)), Check("response", (), api=api), placeholders, found.records, nursery.start_soon
        )  # fmt: skip
        session.start_concurrent_steps(None)
        checks = ResponseSteps(session, AnswerSteps(tuple(steps)), restores=bool(masked), translates=translates)
        stream = CheckedStream(checks, OpenedResponse(api, CODECS[api].wire.framing, answer_limit=answer_limit))
        try:
            async for release in transformed_pieces(stream, _Reads(reads), Watch(Timeouts()), ProviderWait()):
                found.releases.append(release)
                on_release(release)
                if checks.translates:
                    events = events_of(release, reader)
                    found.texts.append("".join(one.text for one in events if isinstance(one, TextDelta)))
        except RefusedByStep as refused:
            found.refused = refused
    return found


def events_of(release: bytes, reader: ReleasedReader) -> list[Event]:
    """Return the events of a release whose events are rewritten."""
    return [one for raw in RELEASED.splitter(0).feed(release) for one in reader.read_event(*_parse(raw))]


def _parse(raw: bytes) -> tuple[str, bytes]:
    parsed = RELEASED.parse(raw)
    assert parsed is not None
    return parsed


def release(
    steps: Sequence[LoadedStep],
    api: str,
    reads: Iterable[bytes],
    masked: str = "",
    *,
    translates: bool = False,
    answer_limit: int = 2**20,
    on_release: Callable[[bytes], object] = len,
) -> Released:
    """Return what ``steps`` release of a stream whose request had the masked value ``masked``. ``translates``: the
    client gets it in another API. ``on_release`` is called with each release."""
    return trio.run(_release, steps, api, reads, masked, translates, answer_limit, on_release)
