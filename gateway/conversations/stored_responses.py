"""The stored turns of the Responses API."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec

from gateway.conversations.stored_api import StateOptions, StoredApi, decode_member
from gateway.request.parse import Incoming
from providers.neutral.codec import Reply, Writer
from providers.responses import RESPONSES
from providers.responses.kept_items import answered_ids, prepare_input, previous_items
from providers.responses.output import ResponseTemplate, end_events
from providers.responses.replay import replay
from providers.responses.writer import TurnWriter
from streams import sse
from streams.errors import invalid
from streams.events import AnswerStart, ErrorInfo

Object: TypeAlias = Mapping[str, Any]

_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "previous_response_id": (str, "a string"),
    "conversation": (str, "an id, or an object with one"),
    "store": (bool, "a boolean"),
    "background": (bool, "a boolean"),
}
_LAST_EVENTS: Final = tuple(b"event: response.%b\n" % word for word in (b"completed", b"failed", b"incomplete"))


def read_options(incoming: Incoming) -> StateOptions:
    """Return the options of a Responses request. Raises ``GatewayError`` (400)."""
    options = {name: decode_member(incoming, name) for name in _KINDS}
    if isinstance(conversation := options["conversation"], dict):
        # Without a readable id, it may have one that another server would accept, such as a duplicate or ``Id``.
        options["conversation"] = conversation.get("id") or False
    for name, (kind, word) in _KINDS.items():
        if options[name] is not None and not isinstance(options[name], kind):
            raise invalid(f"{name} must be {word}", name)
    previous, conversation, store = options["previous_response_id"], options["conversation"], options["store"]
    if previous and conversation:
        raise invalid("send either previous_response_id or conversation, not both", "previous_response_id")
    if options["background"] and store is False:
        raise invalid("background requires store: otherwise you could not fetch the response later", "background")
    refers, compacts = (word in incoming.body for word in (b'"item_reference"', b'"compaction_trigger"'))
    return StateOptions(previous or None, conversation or None, store, bool(options["background"]), refers, compacts)


def _state(options: StateOptions, is_stored: bool) -> Object:
    return {
        "store": is_stored,
        "previous_response_id": options.previous,
        "conversation": None if options.conversation is None else {"id": options.conversation},
        "background": options.background,
    }


def _recordable(writer: Writer, reply: Reply) -> TurnWriter:
    return cast("TurnWriter", writer)  # the codec of this API has no other


def _is_end(event: bytes) -> bool:
    return event.startswith(_LAST_EVENTS)


def _with_error(response: Object, code: str, message: str) -> Object:
    return {**response, "status": "failed", "error": {"code": code, "message": message}}


def _mark_unstored(response: Object) -> Object:
    return {**response, "store": False}


def _cancelled_end(response: Object, events: int) -> bytes:
    """Return the end of a cancelled stream: the API has none for cancelled responses."""
    return end_events(events, _with_error(response, "server_error", "the response was cancelled"))


def _failed_end(data: bytes, error: ErrorInfo, id: str) -> bytes:
    def failed_event(event: Object) -> bytes:
        response = event["response"]
        begin = AnswerStart(id, response["model"], response["created_at"])
        end: bytes = RESPONSES.last_event(error, begin, event["sequence_number"])
        return end

    return _replace_last_event(data, failed_event)


def _unstored_end(data: bytes) -> bytes:
    return _replace_last_event(
        data, lambda event: sse.event(event["type"], {**event, "response": _mark_unstored(event["response"])})
    )


def _replace_last_event(data: bytes, write: Callable[[Object], bytes]) -> bytes:
    """Replace the last event in ``data`` by the result of ``write``."""
    start = data.rfind(b"\n\n", 0, len(data) - 2)
    start = 0 if start < 0 else start + 2
    parsed = sse.parse(data[start:])
    assert parsed is not None, "the last event of a stream has data"
    return data[:start] + write(msgspec.json.decode(parsed[1]))


STORED: Final = StoredApi(
    "responses",
    kind="response",
    id_prefix="resp_",
    noun="response",
    previous="previous_response_id",
    previous_code="previous_response_not_found",
    own_members=tuple(_KINDS),
    output="output",
    has_item_ids=True,
    has_store_member=True,
    read_options=read_options,
    prepare_input=prepare_input,
    previous_items=previous_items,
    answered_ids=answered_ids,
    state=_state,
    outline=lambda reply: ResponseTemplate.of(reply).response,
    with_error=_with_error,
    unstored=_mark_unstored,
    recordable=_recordable,
    is_end=_is_end,
    replay=replay,
    cancelled_end=_cancelled_end,
    failed_end=_failed_end,
    unstored_end=_unstored_end,
)
