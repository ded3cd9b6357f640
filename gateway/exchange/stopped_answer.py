"""The answer to a request that is refused with a text instead of an error: in the client's API and form."""

import time
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.answering import released_lane, write_client_answer
from gateway.exchange.context import ExchangeContext
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.planned import StoppedAnswer
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, stream_headers
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.streaming.lane import reframe_for_client
from gateway.streaming.released import ReleasedSource, frame_of
from gateway.streaming.translation import Translation
from providers.neutral.codec import Reply
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, TextDelta, Usage
from streams.fold import fold


async def stopped_answer(
    context: ExchangeContext,
    incoming: Incoming,
    target: Target,
    refusal: GatewayError,
    text: str,
    end: AnswerEnd,
    usage: Usage | None = None,
) -> GatewayError:
    """Return ``text`` as the answer to a refused request, which ends with ``end``; ``refusal`` for a request that has
    no answer. ``usage`` is that of the cancelled attempt."""
    codec, wire = context.codec, context.codec.wire
    try:
        request = await offload(incoming.size, lambda: incoming.request)
    except GatewayError:  # such as a count of tokens, which may lack ``max_tokens``
        return refusal
    reply = Reply(attrs.evolve(request, model=target.requested_name), target.recipient.issuer, int(time.time()))
    start = AnswerStart(model=target.requested_name)
    events: list[Event] = [start, TextDelta(0, text), BlockEnd(0), usage or Usage(), end]
    feedback = wire.refused_prompt(text)
    if not incoming.stream:
        body = with_members(codec.write_answer(fold(events), reply), feedback)
        return StoppedAnswer(refusal.info, body, JSON_HEADERS, events, feedback)
    framing = context.client_request.framing(wire)
    limits = context.service.settings.limits
    lane: Any = Translation(ReleasedSource(), codec.writer(reply), wire, lambda error: error, limits.event)
    if framing is not wire.framing:
        lane = reframe_for_client(lane, wire.framing, framing)
    body = with_members(lane.feed(frame_of(events)) + lane.end() + lane.trailing_bytes(), feedback)
    return StoppedAnswer(refusal.info, body, stream_headers(framing), events, feedback)


def with_members(body: bytes, members: Mapping[str, Any]) -> bytes:
    """Return ``body`` with ``members`` at the beginning of its first JSON object."""
    return body.replace(b"{", msgspec.json.encode(members)[:-1] + b",", 1) if members else body


async def store_stopped(origin: AnswerOrigin, stopped: StoppedAnswer) -> StoppedAnswer:
    """Return ``stopped``, a complete answer, after storing it if the client has received its id.

    Raises ``GatewayError``."""
    request, turn = origin.target_request, promised_turn(origin)
    if turn is UNRECORDED:
        return stopped
    answer = fold(stopped.events)
    turn.record_target(request.target)
    body = await offload(request.request.incoming.size, write_client_answer, request, turn, [answer])
    body = with_members(await turn.persist_whole(body, answer), stopped.members)
    return StoppedAnswer(stopped.info, body, stopped.headers, stopped.events, stopped.members)


async def begin_stopped(origin: AnswerOrigin, stopped: StoppedAnswer) -> tuple[Any, bytes]:
    """Return the lane of ``stopped``, a stream, and the client's bytes."""
    request, turn = origin.target_request, promised_turn(origin)
    lane, writer = await offload(request.request.incoming.size, released_lane, request, turn, None)
    turn.record_target(request.target, writer)
    return lane, with_members(lane.feed(frame_of(stopped.events)), stopped.members)


def promised_turn(origin: AnswerOrigin) -> TurnRecorder:
    """Return the recorder of the turn if its client has received its id; other turns are not stored after a refusal."""
    turn = origin.request.turn
    return UNRECORDED if turn.background is None else turn
