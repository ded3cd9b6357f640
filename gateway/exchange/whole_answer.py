"""A complete response: read, folded, and written for its client."""

from collections.abc import Sequence
from typing import Final

import attrs

from gateway.exchange.answering import (
    FoldedAnswer,
    correct_content_type,
    fold_answer,
    read_other_choices,
    read_other_events,
    write_client_answer,
)
from gateway.exchange.attempt_answer import AttemptAnswer, Verdict, read_body
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.target_request import AnswerSource
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.ledger.record import Record
from gateway.seams.open_response import ResponseChecks
from gateway.streaming.doubt import answer_doubt, unknown_end
from providers.neutral.tool_names import restore_in_json
from streams.errors import GatewayError
from streams.events import ErrorInfo, Event
from streams.fold import Answer, Fold, ToolCallBlock

UNREAD: Final = 8
"""Reading a response without its texts is this many times faster, because the texts are skipped."""


def has_calls(answer: Answer) -> bool:
    """Return whether ``answer`` calls tools of the client."""
    return ToolCallBlock in map(type, answer.blocks)


def _fold_of(events: Sequence[Event]) -> Fold:
    folded = Fold()
    for event in events:
        folded.add(event)
    return folded


class WholeAnswer(AttemptAnswer):
    """A complete response.

    ``error`` is an error that the provider sent with a success status, in the client's API; it goes to the client if
    no other attempt follows."""

    error: ErrorInfo | None = None
    _folded: FoldedAnswer
    _other_choices: list[Answer]

    def __init__(self, origin: AnswerOrigin, scope: RequestScope, source: AnswerSource) -> None:
        super().__init__(source)
        self.body = b""
        self._turn = origin.request.turn
        self._origin = origin
        self._scope = scope
        self._other_choices = []
        self._checks = source.target_request.checks

    @property
    def verdict(self) -> Verdict | None:
        return None if self._checks is None else self._passed_unchanged

    async def begin(self) -> None:
        source = self.source
        self.response = response = await source.send()
        self.body = body = await read_body(source, response, self._scope, self.read_pieces)
        streamed = correct_content_type(source.target_request.target.framing, response, body)
        size = len(body) + source.target_request.request.incoming.size
        keeps_events = self._checks is not None
        texts = keeps_events or self.lane_name != "byte"
        read = size if texts else len(body) // UNREAD
        self._folded = folded = await offload(
            read,
            fold_answer,
            source.target_request,
            body,
            streamed=streamed,
            texts=texts,
            keeps_events=keeps_events,
        )
        self.lane_name, self.usage = folded.lane, folded.fold.usage
        error = folded.fold.error or unknown_end(folded.fold.answer(), len(body))
        if error is not None:
            is_answer = folded.lane == "byte" and error.native  # for a client of its API
            if not is_answer or self._origin.would_be_followed(source, error):
                raise GatewayError.of(
                    source.target_request.disclosure.error_with_headers(error, response.headers, self.lane_name)
                )
        elif self._origin.may_be_followed(source):
            doubt = answer_doubt(folded.fold.answer(), len(body))
            if doubt is not None and self._origin.would_be_followed(source, doubt):
                raise GatewayError.of(doubt)
        if folded.lane == "hub" and source.target_request.choices > 1:
            self._other_choices = await offload(size, read_other_choices, source.target_request, body)
        self.error = error
        if self._checks is not None:
            await self._check(self._checks)

    async def _check(self, checks: ResponseChecks) -> None:
        """Continue with what ``checks`` release of the response. Raises ``GatewayError`` for a refusal."""
        self.source.watch.note_end()
        await checks.await_verdict()
        if self.error is not None:
            error = GatewayError.of(self.error)
            if (checked := await checks.check_error(error, self.body)) is not error:
                raise checked
            return
        request, body = self.source.target_request, self.body
        may_pass = self.lane_name == "byte"  # the client may get the provider's bytes
        choices = [self._folded.events]
        if may_pass or request.choices > 1:
            size = len(body) + request.request.incoming.size
            choices += await offload(size, read_other_events, request, self.response, body)
        own = (request.target.api, body) if may_pass else None
        released = await checks.check_whole(choices, len(body), own)
        if released is choices and may_pass:
            return
        self.lane_name = "hub"
        first, *others = [_fold_of(events) for events in released]
        self._folded = attrs.evolve(self._folded, fold=first, lane="hub")
        self._other_choices = [one.answer() for one in others]

    async def _passed_unchanged(self) -> bool:
        return self._checks is not None and not self._checks.masked

    def report(self, record: Record) -> None:
        """Write the response's id, model and usage to ``record``."""
        self._folded.report(record)

    def _with_edited_calls(self, body: bytes, record: Record) -> bytes:
        """Return ``body`` without faults that mislead SDKs, and with the client's names of tools."""
        target_request = self.source.target_request
        codec, names = target_request.context.codec, target_request.prepared.names
        if target_request.target.entry.repair and (repair := codec.answer_repair()) is not None:
            body = repair(body)
            record.repaired = tuple(repair.faults)
        return restore_in_json(body, names)

    async def write_for_client(self, record: Record) -> bytes:
        """Store the turn, and return the body for the client. Raises ``GatewayError``."""
        self.keep_public_events()
        source, turn, fold = self.source, self._turn, self._folded.fold
        if fold.error is not None:
            record.error = error = await turn.persist_failure(fold.start.id, fold.error)
            if error is None:
                record.bill.is_complete = True
            return source.target_request.disclosure.error_body(self.body)
        answer, body = fold.answer(), self.body
        if self.lane_name == "hub":
            target_request, answers = source.target_request, (answer, *self._other_choices)
            size = len(body) + target_request.request.incoming.size
            body = await offload(size, write_client_answer, target_request, turn, answers)
        elif has_calls(answer) or source.target_request.prepared.names:
            body = await offload(len(body), self._with_edited_calls, body, record)
        body = await turn.persist_whole(body, answer)
        record.reason, record.provider_reason = answer.end.reason, answer.end.raw
        record.unknown_end = None if answer.end.is_known else answer.end.raw
        record.bill.is_complete = True
        return body
