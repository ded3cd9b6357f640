"""Runs one step over a conversation in every API and at every split, for ``trigate.steps.testing``."""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import msgspec
import trio

from gateway.features.steps.checked_stream import CheckedStream
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.kinds import DEFAULT_PARTS
from gateway.features.steps.loaded import AnswerSteps, AppliedSteps, LoadedStep, StepState
from gateway.features.steps.masks import Placeholders, Span
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.resources import first_error
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runner import StepFailed
from gateway.features.steps.session import StepSession
from gateway.features.steps.settings import StepSettings
from gateway.features.steps.slots import StepSlots
from gateway.features.steps.verdicts import RefusedByStep, StepRecords
from gateway.seams.open_response import OpenedResponse
from gateway.streaming.lane import read_events
from gateway.streaming.released import RELEASED, ReleasedReader
from providers.apis import CODECS
from providers.neutral.codec import Recipient, Reply
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    change_event,
)
from streams.fold import fold
from trigate.steps import Action, Check, Finding, Moment, Passage, options_of

T = TypeVar("T")

Found: TypeAlias = tuple[str, str, str]
"""A finding's label, part and text."""

_ISSUER: Final = Issuer("openai", "test")
_LIMIT: Final = 64 * 2**20
MOST_SPLITS: Final = 1500
"""The most places at which a stream is split in two: all of them in most streams; a tenth in the other APIs."""


class StepHarness:
    """One step with its action, and everything that a gateway would add."""

    def __init__(
        self, step: Callable[[Check], Any], action: Action | Mapping[str, Action], hold: int | str | None
    ) -> None:
        options = options_of(step)
        self._step = LoadedStep(
            "step", 0, StepSettings("tests:step", name="step", deadline=60.0), ("request", "response"), action,
            "whole" if hold is None and options.hold is None else hold or options.hold,  # type: ignore[arg-type]
            frozenset(options.parts or DEFAULT_PARTS), StepState(StepSlots(8)), function=step,
        )  # fmt: skip
        if self._step.hold == "nothing" and self._step.may_mask:
            raise ValueError('a mask is too late with hold="nothing": use action="refuse" or "report"')

    # Requests

    def run_request(self, api: str, body: Mapping[str, Any]) -> tuple[list[Found], bytes | None]:
        """Return the findings, and the body for the provider or ``None``. Raises as ``testing.run`` does."""
        first = _run(self._check_request, api, msgspec.json.encode(body))
        request = _read_request(api, body)
        for other, codec in CODECS.items():
            if other != api:
                try:
                    written = codec.write_request(request, Recipient("model", _ISSUER)).body
                except GatewayError:
                    continue  # this API has no such request
                found, _ = _run(self._check_request, other, written)
                assert _texts(found) == _texts(first[0]), f"{other} shows other findings than {api}: {found} {first[0]}"
        return first

    async def _check_request(self, api: str, body: bytes) -> tuple[list[Found], bytes | None]:
        async with trio.open_nursery() as nursery:
            session = self._session(api, nursery)
            sent = None
            with contextlib.suppress(RefusedByStep):
                sent = (await session.check_texts([self._step], _read_texts(api, body))).body
        return session.found, sent

    # Responses

    def run_response(
        self, api: str, body: Mapping[str, Any], response: str | Mapping[str, Any] | bytes, seeds: int
    ) -> tuple[list[Found], str | None]:
        """Return the findings, and the text for the client or ``None``. Raises as ``testing.run`` does."""
        if not response:
            return [], ""
        events, request = _read_response(api, response), _read_request(api, body)
        data = response if isinstance(response, bytes) else _write_stream(api, events, request)
        whole = attrs.evolve(self._step, hold="whole")
        session, releases = _run(self._release, whole, api, [data])
        first = session.found, None if releases is None else "".join(releases)
        for other in CODECS:
            data = response if isinstance(response, bytes) and other == api else _write_stream(other, events, request)
            splits = _splits(data, MOST_SPLITS if other == api else MOST_SPLITS // 10)
            cut = (_write_stream(other, _cut_texts(events, seed), request) for seed in range(-1, seeds))
            for pieces in (*splits, *(_random_split(one, seed) for seed, one in enumerate(cut))):
                session, releases = _run(self._release, self._step, other, pieces)
                released = None if releases is None else "".join(releases)
                for text in session.hidden if releases is not None else ():
                    assert text not in (released or ""), f"a release in {other} shows {text!r}"
                assert released == first[1], f"{other} releases {released!r}, and the whole response is {first[1]!r}"
                is_same = self._has_findings(session.found, first[0], is_refused=released is None)
                assert is_same, f"{other} shows other findings than the whole response"
        return first

    def _has_findings(self, found: Sequence[Found], whole: Sequence[Found], *, is_refused: bool) -> bool:
        """Return whether a stream has the findings in the ``whole`` response.

        A step that holds a number of characters may also find the beginning of a value. A refusal ends its calls."""
        if not isinstance(self._step.hold, int):
            return _texts(found) == _texts(whole)
        seen, expected = set(_texts(found)), set(_texts(whole))
        parts = all(any(label == one and text in full for one, full in expected) for label, text in seen)
        return parts and (bool(seen) == bool(expected) if is_refused else expected <= seen)

    async def _release(
        self, step: LoadedStep, api: str, pieces: Sequence[bytes]
    ) -> tuple["_ObservedSession", list[str] | None]:
        """Return the session of a stream with its findings, and the text of each release."""
        released, is_refused = list[str](), False
        async with trio.open_nursery() as nursery:
            session = self._session(api, nursery)
            session.start_concurrent_steps(_read_texts(api, b"{}"))
            checks = ResponseSteps(session, AnswerSteps((step,)), restores=False, translates=True)
            opened = OpenedResponse(api, CODECS[api].wire.framing, event_limit=_LIMIT, answer_limit=_LIMIT)
            stream, reader = CheckedStream(checks, opened), ReleasedReader()
            try:
                for piece in (*pieces, None):
                    if stream.is_over:
                        break
                    frame = await (stream.end() if piece is None else stream.feed(piece))
                    for raw in RELEASED.splitter(_LIMIT).feed(frame):
                        events = reader.read_event("", RELEASED.parse(raw)[1])  # type: ignore[index]
                        released.append("".join(getattr(event, "text", "") for event in events))
            except RefusedByStep:
                is_refused = True
        return session, None if is_refused else released

    # Both

    def _session(self, api: str, nursery: trio.Nursery) -> "_ObservedSession":
        common = Check("request", (), "client", None, "model", None, api, "req_test")
        placeholders = Placeholders(b"k" * 32, "client")
        return _ObservedSession(AppliedSteps((self._step,)), common, placeholders, StepRecords(), nursery.start_soon)


class _ObservedSession(StepSession):
    """A session that keeps the findings of its step."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.found: list[Found] = []
        self.hidden: set[str] = set()
        """The found texts that the client may not get."""

    def apply_findings(
        self, step: LoadedStep, passages: Sequence[Passage], findings: Iterable[Finding], at: Moment, counted: int = 0
    ) -> list[list[Span]]:
        findings = list(findings)
        for one in findings:
            if one.end > one.passage.released_length:
                text = one.passage.text[one.start : one.end]
                self.found.append((one.label, one.passage.part, text))
                if step.action_for(one.label, one.action) != "report":
                    self.hidden.add(text)
        return super().apply_findings(step, passages, findings, at, counted)

    def note_failure(self, failed: StepFailed, at: Moment = "response") -> None:
        raise AssertionError(f"the step failed: {failed.reason}")


def _run(function: Callable[..., Awaitable[T]], *parts: Any) -> T:
    """Return ``await function(*parts)``, or raise its first error without a group."""
    try:
        return trio.run(function, *parts)
    except BaseExceptionGroup as group:
        raise first_error(group) from None


def _read_texts(api: str, body: bytes) -> RequestTexts:
    try:
        return RequestTexts.of(api, body)
    except NotJson as error:
        raise ValueError(f"the request is no JSON: {error}") from None


def _texts(found: Sequence[Found]) -> list[tuple[str, str]]:
    """Return labels and texts in a fixed order: APIs differ in the order of their members."""
    return sorted((label, text) for label, _, text in found)


def _read_request(api: str, body: Mapping[str, Any]) -> Request:
    try:
        return CODECS[api].read_request({"model": "model", **body})
    except GatewayError as error:
        raise ValueError(f"this is no request of {api}: {error.info.message}") from None


def _read_response(api: str, response: str | Mapping[str, Any] | bytes) -> list[Event]:
    codec = CODECS[api]
    if isinstance(response, str):
        return [AnswerStart("answer", "model"), TextDelta(0, response), BlockEnd(0), Usage(1), AnswerEnd("stop")]
    try:
        if not isinstance(response, bytes):
            return list(codec.read_answer(msgspec.json.encode(response)))
        return read_events(codec, response, codec.wire.framing)
    except GatewayError as error:
        raise ValueError(f"this is no response of {api}: {error.info.message}") from None


def _write_stream(api: str, events: Sequence[Event], request: Request) -> bytes:
    fold(events)  # raises for an incomplete response
    writer = CODECS[api].writer(Reply(attrs.evolve(request, stream=True), _ISSUER, 0))
    return b"".join(map(writer.send, events))


def _splits(data: bytes, most: int) -> Iterator[list[bytes]]:
    """Yield the stream in one piece, in two pieces at every place or at ``most`` of them, and byte by byte."""
    yield [data]
    step = max(1, -(-len(data) // most))
    for at in range(1, len(data), step):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def _cut_texts(events: Iterable[Event], seed: int) -> list[Event]:
    """Return ``events`` with their texts in pieces of random sizes; in single characters for a negative ``seed``."""
    source, found = random.Random(seed), list[Event]()
    for event in events:
        if not isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta) or not event.text:
            found.append(event)
            continue
        at = 0
        while at < len(event.text):
            size = source.choice((1, 3, 10)) if seed >= 0 else 1
            found.append(change_event(event, text=event.text[at : at + size]))
            at += size
    return found


def _random_split(data: bytes, seed: int) -> list[bytes]:
    source, pieces = random.Random(seed), []
    while data:
        size = source.choice((1, 3, 10, 50, 300))
        pieces.append(data[:size])
        data = data[size:]
    return pieces
