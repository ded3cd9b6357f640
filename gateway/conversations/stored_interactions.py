"""The stored turns of Google's Interactions API. It is imported with its first use."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from gateway.conversations.stored_api import StateOptions, StoredApi, decode_member
from gateway.request.parse import Incoming
from providers.interactions import INTERACTIONS
from providers.interactions.answer import common_members, write_answer
from providers.interactions.errors import error_member, last_event
from providers.interactions.kept_steps import answered_ids, prepare_input, previous_steps
from providers.interactions.replay import COMPLETED, INTERRUPTED, EventNumbers, end_events, event_id, replay
from providers.neutral.codec import Reply, Writer
from streams.errors import invalid
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event
from streams.fold import Answer, Fold, ToolCallBlock

Object: TypeAlias = Mapping[str, Any]

_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "previous_interaction_id": (str, "a string"),
    "store": (bool, "a boolean"),
    "background": (bool, "a boolean"),
}
_COMPLETED: Final = b"event: %b\n" % COMPLETED.encode()
_LAST_EVENTS: Final = (_COMPLETED, b"event: error\n", b"event: done\n")
_CODES: Final = {"server_error": "internal"}
"""Codes of OpenAI's API in this API's words."""


def read_options(incoming: Incoming) -> StateOptions:
    """Return the options of an Interactions request. Raises ``GatewayError`` (400)."""
    options = {name: decode_member(incoming, name) for name in _KINDS}
    for name, (kind, word) in _KINDS.items():
        if options[name] is not None and not isinstance(options[name], kind):
            raise invalid(f"{name} must be {word}", name)
    if options["background"] and options["store"] is False:
        raise invalid("background requires store: otherwise you could not fetch the interaction later", "background")
    previous = options["previous_interaction_id"] or None
    return StateOptions(previous, None, options["store"], bool(options["background"]))


def _state(options: StateOptions, is_stored: bool) -> Object:
    return {} if options.previous is None else {"previous_interaction_id": options.previous}


def _outline(reply: Reply) -> Callable[[str], Object]:
    members = common_members(reply)
    return lambda status: {**members, "status": status, "steps": []}


class FoldedWriter:
    """A writer of a stream that also folds its events, for the stored turn: the last event has no steps."""

    def __init__(self, writer: Writer, reply: Reply) -> None:
        self._writer = writer
        self._reply = reply
        self._fold = Fold()
        self.response: dict[str, Any] | None = None
        self.partial_response: dict[str, Any] | None = None

    def send(self, event: Event) -> bytes:
        data = self._writer.send(event)
        if self.response is None:
            self._add(event)
        return data

    def _add(self, event: Event) -> None:
        self._fold.add(event)
        if isinstance(event, AnswerEnd):
            self.response = self._response_of(self._fold.answer())
        elif isinstance(event, ErrorInfo):
            self.response = self.partial_response = self.interrupted_response("failed", event)

    def interrupted_response(self, status: Any, error: ErrorInfo | None = None) -> dict[str, Any]:
        """Return the interaction as if the stream ended here. Calls whose arguments may be incomplete are left out."""
        if self.response is not None:
            return self.response
        blocks = tuple(block for block in self._fold.blocks() if not isinstance(block, ToolCallBlock))
        answer = Answer(self._fold.start, blocks, self._fold.usage, AnswerEnd("stop"))
        response = {**self._response_of(answer), "status": status}
        return _with_error(response, error_member(error or _BROKEN)) if status == "failed" else response

    def _response_of(self, answer: Answer) -> dict[str, Any]:
        members = msgspec.json.decode(write_answer(answer, self._reply), type=dict[str, msgspec.Raw])
        return {**members, **{name: msgspec.json.decode(members[name]) for name in ("steps", "status")}}


_BROKEN: Final = ErrorInfo("upstream", INTERRUPTED["message"])


def _is_end(event: bytes) -> bool:
    return event.startswith(_LAST_EVENTS)


def _with_error(interaction: Object, error: Mapping[str, str]) -> dict[str, Any]:
    return {**interaction, "status": "failed", "errors": [error]}


def _failed_response(interaction: Object, code: str, message: str) -> Object:
    return _with_error(interaction, {"code": _CODES.get(code, code), "message": message})


def _cancelled_end(interaction: Object, events: int) -> bytes:
    return end_events({**interaction, "status": "cancelled"}, EventNumbers(events))


def _failed_end(data: bytes, error: ErrorInfo, id: str) -> bytes:
    """Replace the good end of a stream by an error."""
    at = data.rfind(_COMPLETED)
    number = event_id(data[at : data.find(b"\n\n", at) + 2]) or "1"
    return data[:at] + last_event(error, AnswerStart(id), int(number) - 1)


STORED: Final = StoredApi(
    INTERACTIONS.api,
    kind="interaction",
    id_prefix="v1_",
    noun="interaction",
    previous="previous_interaction_id",
    previous_code="not_found",
    own_members=tuple(_KINDS),
    output="steps",
    has_item_ids=False,
    has_store_member=False,
    read_options=read_options,
    prepare_input=prepare_input,
    previous_items=previous_steps,
    answered_ids=answered_ids,
    state=_state,
    outline=_outline,
    with_error=_failed_response,
    unstored=lambda interaction: interaction,
    recordable=FoldedWriter,
    is_end=_is_end,
    replay=replay,
    cancelled_end=_cancelled_end,
    failed_end=_failed_end,
    unstored_end=lambda data: data,
)
"""The row of the API, whose objects do not state whether they are stored."""
