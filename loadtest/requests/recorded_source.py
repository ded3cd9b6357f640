"""Requests that clients sent before, sent again. Whose they were stays behind: no key and no account goes to another
server, neither in a header nor in a body."""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import recorded_load
from loadtest.requests.file_requests import asked_limit
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, SingleRequest
from providers.apis import CODECS
from providers.recordings import RecordedRequest

if TYPE_CHECKING:
    from loadtest.plan.load_endpoints import LoadApi

HEADERS: Final = frozenset(("anthropic-version", "anthropic-beta", "openai-beta"))
"""Recorded headers that are sent: what they ask for, and nobody's."""

ACCOUNTS: Final[Mapping[str, frozenset[str]]] = {
    "chat": frozenset(("user", "safety_identifier")),
    "messages": frozenset(("metadata",)),
    "responses": frozenset(("user", "safety_identifier")),
    "gemini": frozenset(("labels",)),
    "converse": frozenset(("requestMetadata",)),
}
"""Members of a body that say whose it is."""


class RecordedRequests:
    """Requests of one kind from a directory of recordings, in the order in which they were sent, and from the beginning
    again behind the last."""

    def __init__(self, request: LoadRequest) -> None:
        assert request.requests is not None
        self._request = request
        self._recorded = recorded_load(request.requests)

    def session(self, number: int, chance: random.Random) -> LoadSession:
        place = number % len(self._recorded.requests)
        recorded, body = self._recorded.requests[place], self._recorded.bodies[place]
        return LazySession(lambda: SingleRequest(sent_again(self._request, recorded, body)))


def sent_again(request: LoadRequest, recorded: RecordedRequest, body: bytes) -> PreparedRequest:
    """What was ``recorded``, as a request of this kind: for its model, if that names one."""
    api: LoadApi = recorded.api  # type: ignore[assignment]  # those that are recorded are those that are spoken
    members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    wire = CODECS[api].wire
    changed = {name: value for name, value in members.items() if name not in ACCOUNTS.get(api, ())}
    if request.model and wire.model_member is not None:
        changed[wire.model_member] = request.model
    stream = recorded.stream
    if wire.stream_member is not None:
        stream = bytes(members.get(wire.stream_member, b"")) == b"true"
    kind = attrs.evolve(
        request,
        api=api,
        model=request.model or recorded.model or "",
        stream=stream,
        usage=api != "chat" or b'"include_usage":true' in bytes(members.get("stream_options", b"")).replace(b" ", b""),
    )
    headers = tuple((name, value) for name, value in recorded.headers if name in HEADERS)
    sent = body if changed == members else msgspec.json.encode(changed)
    return PreparedRequest(kind, sent, headers=headers, asked_output=asked_limit(members, api))
