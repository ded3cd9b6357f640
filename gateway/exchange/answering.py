"""An attempt's answer for the client: the lane of a stream, the fold of a whole one."""

import time
from collections.abc import Sequence

import attrs

from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.attempt import Attempt, is_stream
from gateway.exchange.context import ExchangeContext
from gateway.streaming.lane import Lane
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.progress import spoken
from gateway.streaming.reframed import for_client
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from gateway.streaming.whole import read_whole
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.neutral.choices import further_choices, joined
from providers.neutral.codec import Codec, Reply, Writer
from providers.neutral.tool_names import restored
from streams.events import ErrorInfo, Event, Usage
from streams.fold import Answer, Fold
from streams.framing import Framing


def reply_to(attempt: Attempt, turn: TurnRecorder) -> Reply:
    """The frame of the answer to the client's request."""
    request, stamp = attrs.evolve(attempt.incoming.request, model=attempt.target.asked), attempt.stamp
    estimate = max(1, attempt.incoming.size // 4)
    created = int(time.time()) if stamp is None else stamp.created
    unsent = attempt.prepared.outgoing.dropped
    reply = turn.reply(Reply(request, attempt.target.recipient.issuer, created, estimate, unsent=unsent))
    return reply if stamp is None or turn.records else attrs.evolve(reply, id="")


def stream_lane(attempt: Attempt, turn: TurnRecorder) -> Lane:
    """The lane of a stream that the provider streams."""
    context, target, prepared = attempt.context, attempt.target, attempt.prepared
    limits = context.service.limits
    if target.lane == "byte":
        hides_usage = prepared.outgoing.asks_usage
        passing = Passthrough(
            context.codec, attempt.public_error, attempt.redact_error, limits.event, hides_usage=hides_usage,
            source=target.framing,
        )  # fmt: skip
        return _for_client(context, passing)
    # A stream that its end repeats, or that is stored, is held until then.
    most = limits.answer if context.codec.wire.repeats_answer or turn.records else None
    codec, writer, framing = CODECS[target.api], _writer(attempt, turn), context.codec.wire.framing
    names, keeps = prepared.names, limits.answer
    event, source = limits.event, target.framing
    lane = Translation(codec, writer, framing, attempt.public_error, event, names, most, keeps, source)
    return _for_client(context, lane)


def whole_answer_lane(attempt: Attempt, turn: TurnRecorder) -> Lane:
    """The lane of a stream that the provider answers whole. Raises ``GatewayError`` (400) as ``change_form`` does."""
    attempt.change_form()
    codec, framing = CODECS[attempt.target.api], attempt.context.codec.wire.framing
    writer, limit, names = _writer(attempt, turn), attempt.context.service.limits.answer, attempt.prepared.names
    lane = WholeAnswerTranslation(codec, writer, framing, attempt.public_error, limit, names)
    return _for_client(attempt.context, lane)


def _for_client(context: ExchangeContext, lane: Lane) -> Lane:
    wire = context.codec.wire
    return lane if wire.unless_asked is None else for_client(lane, wire.framing, wire.framing_for(context.asked.query))


def _writer(attempt: Attempt, turn: TurnRecorder) -> Writer:
    attempt.writer = turn.writer(attempt.context.codec.writer(reply_to(attempt, turn)))
    return attempt.writer


def fold_answer(attempt: Attempt, response: UpstreamResponse, body: bytes, *, texts: bool = True) -> Fold:
    """The provider's whole answer; without ``texts`` perhaps without what it says. Raises
    ``GatewayError``: 502 for a body that is no answer, 400 as ``change_form`` does."""
    streamed = is_stream(attempt.target, response)
    folded = Fold()
    codec, framing = CODECS[attempt.target.api], attempt.target.framing if streamed else None
    events = _events(codec, body, framing, texts, checked=texts)
    if not any(isinstance(event, Usage) and event.prompt for event in events):
        events = events if texts else _events(codec, body, framing, checked=False)
        attempt.said = sum(map(spoken, events))  # what nobody has counted is estimated by that
    for event in events:
        event = attempt.public_error(event) if isinstance(event, ErrorInfo) else event
        folded.add(restored(event, attempt.prepared.names))
    if streamed:
        attempt.change_form()
    attempt.keep_headers(response)
    return folded


def has_several(attempt: Attempt) -> bool:
    """Return whether an answer that is translated has several choices: its client has requested them."""
    if attempt.lane_name == "byte":
        return False
    n = attempt.incoming.request.parameters.get("n")
    return n is not None and n.value > 1


def further_answers(attempt: Attempt, body: bytes) -> list[Answer]:
    """Return the choices after the first one of a whole ``body`` that is translated for a client who has requested
    several. Raises ``GatewayError`` (502) if one of them has failed."""
    folds = []
    for one in further_choices(body, attempt.target.api):
        folded = Fold()
        for event in _events(CODECS[attempt.target.api], one, None):
            event = attempt.public_error(event) if isinstance(event, ErrorInfo) else event
            folded.add(restored(event, attempt.prepared.names))
        folds.append(folded)
    return [folded.answer() for folded in folds]


def written_answer(attempt: Attempt, turn: TurnRecorder, answers: Sequence[Answer]) -> bytes:
    """Return the client's answer with the choices in ``answers``, of which most have one."""
    codec = attempt.context.codec
    written = [codec.write_answer(answer, reply_to(attempt, turn)) for answer in answers]
    return written[0] if len(written) == 1 else joined(written, codec.api)


def _events(
    codec: Codec, body: bytes, framing: Framing | None, texts: bool = True, *, checked: bool = True
) -> list[Event]:
    """The events of a whole body, also of one that came as a stream of ``framing`` though it was not asked for."""
    if framing is None:
        return list(read_whole(codec, body, texts, checked))
    reader = codec.reader()
    splitter = framing.splitter(len(body) + 1)
    events: list[Event] = []
    raws = splitter.feed(body)
    for raw in filter(None, (*raws, framing.completed(splitter.close()))):
        if (parsed := framing.parse(raw)) is not None:
            events.extend(reader.take(*parsed))
    return [*events, *reader.close()]
