"""Converts a provider's response for the client: the lane of a stream, or the fold of a complete response."""

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import attrs

from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import TargetRequest
from gateway.ledger.record import Record
from gateway.routing.target import LaneName
from gateway.streaming.keep_alive import CountedLane, counts_events
from gateway.streaming.lane import Lane, count_characters, read_events, reframe_for_client
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.neutral.api_members import ANSWER_COUNTS
from providers.neutral.choices import MEMBERS, OTHER_CHOICE, join_choices, split_other_choices
from providers.neutral.codec import Writer
from providers.neutral.searches import answer_with_own_searches, with_own_searches
from providers.neutral.tool_names import free_text_tools, restore_name
from streams.errors import invalid
from streams.events import ErrorInfo, Event, Usage
from streams.fold import Answer, Fold
from streams.framing import Framing

T = TypeVar("T")

_OBJECT = re.compile(rb"\s*\{")


def is_stream(target_request: TargetRequest, content_type: str | None) -> bool:
    """Return whether the response is a stream of events, whatever was requested."""
    return target_request.target.framing.matches_type(content_type)


def correct_content_type(framing: Framing, response: UpstreamResponse, start: bytes) -> bool:
    """Replace the content type of ``response`` if its body, which begins with ``start``, has the other form. Return
    whether it is a stream of events in ``framing``.

    Some servers label their streams as JSON or text, or not at all (https://github.com/containers/ramalama/issues/2837,
    https://github.com/vllm-project/vllm/pull/47526), others a complete response as a stream
    (https://github.com/Wei-Shaw/sub2api/issues/1311)."""
    if not framing.matches_type(response.header("content-type")):
        if not framing.begins(start):
            return False
        response.set_content_type(framing.content_type)
    elif _OBJECT.match(start):
        response.set_content_type("application/json")
        return False
    return True


def refuse_change_of_form(target_request: TargetRequest) -> None:
    """Raise ``GatewayError`` (400) if a response in the wrong form would lose choices.

    A provider may respond with a complete response instead of a stream, or the reverse. The response is then
    translated, which keeps only one of several requested choices."""
    if target_request.choices > 1:
        other = "without streaming" if target_request.request.incoming.stream else "only with streaming"
        at = ANSWER_COUNTS[target_request.context.codec.api][0]
        raise invalid(
            f"{at} must be 1: the provider responds {other}, so trigate converts the response, which "
            "supports only one choice",
            at,
        )


# Streams


def make_stream_lane(target_request: TargetRequest, turn: TurnRecorder) -> tuple[Lane, Writer | None]:
    """Return the lane of a streamed response, and its writer if the response is translated."""
    context, target = target_request.context, target_request.target
    prepared, disclosure = target_request.prepared, target_request.disclosure
    limits, wire, checks = context.service.settings.limits, context.codec.wire, target_request.checks
    # A stream that is repeated at its end, or stored, is held until then.
    max_characters = limits.answer if wire.repeats_answer or turn.records else None

    def make() -> tuple[Lane, Writer | None]:
        if checks is not None and checks.translates:
            return released_lane(target_request, turn, max_characters)
        if target.lane == "byte":
            passing = Passthrough(
                context.codec, disclosure.error, disclosure.error_body, limits.event,
                hides_usage=prepared.outgoing.asks_usage, source=target.framing,
                repair=context.codec.answer_repair() if target.entry.repair else None, names=prepared.names,
            )  # fmt: skip
            return _in_client_framing(context, passing), None
        writer = turn.writer(context.codec.writer(target_request.reply(turn)))
        lane = Translation(
            CODECS[target.api], _in_own_forms(target_request, writer), wire, disclosure.error, limits.event,
            prepared.names, max_characters, limits.answer, target.framing, _free_text(target_request),
        )  # fmt: skip
        return _in_client_framing(context, lane), writer

    return _finished_lane(target_request, turn, make)


def make_whole_answer_lane(target_request: TargetRequest, turn: TurnRecorder) -> tuple[Lane, Writer | None]:
    """Return the lane that makes a stream from a complete response, and its writer."""
    context, codec = target_request.context, CODECS[target_request.target.api]
    limit = context.service.settings.limits.answer

    def make() -> tuple[Lane, Writer | None]:
        if target_request.checks is not None:
            return released_lane(target_request, turn, limit)
        writer = turn.writer(context.codec.writer(target_request.reply(turn)))
        lane = WholeAnswerTranslation(
            codec,
            _in_own_forms(target_request, writer),
            context.codec.wire,
            target_request.disclosure.error,
            limit,
            target_request.prepared.names,
            _free_text(target_request),
        )
        return _in_client_framing(context, lane), writer

    return _finished_lane(target_request, turn, make)


def released_lane(
    target_request: TargetRequest, turn: TurnRecorder, max_characters: int | None
) -> tuple[Lane, Writer | None]:
    """Return the lane that writes the events which a transform has released, and its writer."""
    from gateway.streaming.released import ReleasedSource

    context = target_request.context
    if target_request.choices > 1:
        return _in_client_framing(context, _choices_lane(target_request, turn, max_characters)), None
    writer = turn.writer(context.codec.writer(target_request.reply(turn)))
    lane = Translation(
        ReleasedSource(), _in_own_forms(target_request, writer), context.codec.wire,
        target_request.disclosure.error,
        context.service.settings.limits.event, max_characters=max_characters,
        free_text=_free_text(target_request),
    )  # fmt: skip
    return _in_client_framing(context, lane), writer


def _free_text(target_request: TargetRequest) -> Collection[str]:
    return free_text_tools(target_request.request.incoming.request)


def _in_own_forms(target_request: TargetRequest, writer: Writer) -> Writer:
    """Return ``writer`` with the provider's searches in the form of the client's API."""
    return with_own_searches(writer, target_request.context.codec.api, target_request.request.incoming.request)


def _choices_lane(target_request: TargetRequest, turn: TurnRecorder, max_characters: int | None) -> Lane:
    """Return the lane that writes several choices of a client's own API, which a transform has released."""
    from gateway.streaming.choices_lane import ChoicesLane

    codec = target_request.context.codec
    reply = target_request.reply(turn)
    return ChoicesLane(
        codec.api, codec.wire.framing, partial(codec.writer, reply), target_request.disclosure.error, max_characters,
        reply.input_estimate,
    )  # fmt: skip


def _in_client_framing(context: ExchangeContext, lane: Lane) -> Lane:
    wire, client = context.codec.wire, context.client_request
    if wire.unless_asked is None and client.path.framing is None:
        return lane
    return reframe_for_client(lane, wire.framing, client.framing(wire))


def _finished_lane(
    target_request: TargetRequest, turn: TurnRecorder, make: Callable[[], tuple[Lane, Writer | None]]
) -> tuple[Lane, Writer | None]:
    """Call ``make``, and return its lane and writer with the request's ids, and with keep-alives that the client
    counts."""
    context, ids = target_request.context, target_request.ids
    lane, writer = make() if ids is None else ids.lane(make)
    wire = context.codec.wire
    if wire.counted_ping is None or turn.background is not None or not counts_events(context.client_request.headers):
        return lane, writer
    return CountedLane(lane, wire.counted_ping), writer


# Complete responses


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class FoldedAnswer:
    """A complete response as the fold of its events.

    ``characters`` is the number of its characters if the provider did not report both input and output, otherwise 0.
    ``lane`` is its lane. ``events`` are the events if they are kept."""

    fold: Fold
    characters: int
    lane: LaneName
    events: Sequence[Event] = ()

    def report(self, record: Record) -> None:
        """Write the response's id, model and usage to ``record``."""
        record.answer_start = self.fold.start
        record.bill.usage, record.bill.characters = self.fold.usage, self.characters


def fold_answer(
    target_request: TargetRequest,
    body: bytes,
    *,
    streamed: bool,
    texts: bool = True,
    keeps_events: bool = False,
) -> FoldedAnswer:
    """Return the fold of a complete response, with its events if it ``keeps_events``. ``streamed``: it is a stream of
    events. Without ``texts``, the fold may lack the answer's texts.

    Raises ``GatewayError``: 502 for an invalid body, 400 as ``refuse_change_of_form`` does."""
    if target_request.ids is None:
        return _fold(target_request, body, streamed, texts, keeps_events)
    return target_request.with_ids(b"fold", lambda: _fold(target_request, body, streamed, texts, keeps_events))


def _fold(target_request: TargetRequest, body: bytes, streamed: bool, texts: bool, keeps_events: bool) -> FoldedAnswer:
    lane = target_request.target.lane
    folded, characters = Fold(), 0
    codec, framing = CODECS[target_request.target.api], target_request.target.framing if streamed else None
    one_choice = lane == "hub" and target_request.choices == 1
    events = read_events(codec, body, framing, texts, checked=texts, one_choice=one_choice)
    for event in events:
        if type(event) is Usage and event.prompt and event.output:
            break
    else:
        events = events if texts else read_events(codec, body, framing, checked=False)
        characters = sum(map(count_characters, events))  # to estimate missing usage
    names = target_request.prepared.names
    if names or [event for event in events if type(event) is ErrorInfo]:
        events = [_for_client(target_request, event) for event in events]
    for event in events:
        folded.add(event)
    if streamed:
        lane = "hub"
    if folded.is_complete:
        if streamed:
            refuse_change_of_form(target_request)
        folded.answer()  # made in this thread, because it may have thousands of blocks
    return FoldedAnswer(folded, characters, lane, events if keeps_events else ())


def _for_client(target_request: TargetRequest, event: Event) -> Event:
    """Return ``event`` as the client may see it: without credentials, and with its own names of tools."""
    if isinstance(event, ErrorInfo):
        return target_request.disclosure.error(event)
    return restore_name(event, target_request.prepared.names)


def read_other_choices(target_request: TargetRequest, body: bytes) -> list[Answer]:
    """Return the choices after the first one of a translated ``body`` if the client requested several.

    Raises ``GatewayError`` (502) if one of them failed."""
    folds = []
    for one in split_other_choices(body, target_request.target.api):
        folded = Fold()
        for event in read_events(CODECS[target_request.target.api], one, None):
            folded.add(_for_client(target_request, event))
        folds.append(folded)
    return [folded.answer() for folded in folds]


def read_other_events(target_request: TargetRequest, response: UpstreamResponse, body: bytes) -> list[list[Event]]:
    """Return the events of each choice of a complete response after the first one, with the client's names of tools.

    Raises ``GatewayError`` (502)."""
    target, names = target_request.target, target_request.prepared.names
    if target.api not in MEMBERS or OTHER_CHOICE.search(body) is None:
        return []
    if is_stream(target_request, response.header("content-type")):
        return []
    others = split_other_choices(body, target.api)

    def read() -> list[list[Event]]:
        found = (read_events(CODECS[target.api], one, None) for one in others)
        return [[restore_name(event, names) for event in events] for events in found]

    return target_request.with_ids(b"other choices", read) if others else []


def write_client_answer(target_request: TargetRequest, turn: TurnRecorder, answers: Sequence[Answer]) -> bytes:
    """Return the client's response with the choices in ``answers``, usually one."""
    codec = target_request.context.codec

    def write() -> bytes:
        request = target_request.request.incoming.request
        own = [answer_with_own_searches(answer, codec.api, request) for answer in answers]
        written = [codec.write_answer(answer, target_request.reply(turn)) for answer in own]
        return written[0] if len(written) == 1 else join_choices(written, codec.api)

    return target_request.with_ids(b"answer", write)
