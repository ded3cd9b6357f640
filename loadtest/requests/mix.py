"""The source of the requests of a load: a weighted mix of kinds, each with a source.

This module has those for files, recordings and sounds.
"""

import functools
import io
import random
import wave
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from loadtest.plan.load_endpoints import wire_of
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import is_recorded, recorded_load
from loadtest.requests.bodies import chat_like_body
from loadtest.requests.conversation import (
    MadeConversations,
    TracedConversations,
    UserTurn,
    conversation_of,
    split_turns,
)
from loadtest.requests.file_requests import (
    FileRequest,
    WholeBody,
    request_file,
    token_limit_of,
    with_model,
    with_settings_of,
)
from loadtest.requests.made_requests import TOKENS, MadeRequests, PromptTexts
from loadtest.requests.sources import (
    LazySession,
    LoadSession,
    PreparedRequest,
    RequestSource,
    SingleRequest,
    SourceSetting,
)
from providers.apis import CODECS
from providers.recordings import RecordedRequest

if TYPE_CHECKING:
    from loadtest.plan.load_endpoints import LoadApi


RATE: Final = 16_000
"""Samples per second, of two bytes each, as speech models expect."""

_BOUNDARY: Final = "trigate-load-7d1e"
_PART: Final = '--{}\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'


class SoundRequests:
    """Forms with a model and a WAV file, for transcriptions. ``extra`` adds form fields."""

    def __init__(self, request: LoadRequest) -> None:
        self._request = request
        fields = {"model": request.model, **{name: str(value) for name, value in request.extra.items()}}
        head = "".join(_PART.format(_BOUNDARY, name, "") + value + "\r\n" for name, value in fields.items())
        named = '; filename="load.wav"\r\ncontent-type: audio/wav'
        self._before = (head + _PART.format(_BOUNDARY, "file", named)).encode()
        self._after = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def session(self, number: int, rng: random.Random) -> LoadSession:
        body = b"".join((self._before, silent_wav(rng.getrandbits(32)), self._after))
        headers = (("content-type", f"multipart/form-data; boundary={_BOUNDARY}"),)
        return SingleRequest(PreparedRequest(self._request, body, headers=headers, asked_input=0))


def silent_wav(seed: int) -> bytes:
    """Return a WAV file of one second that is unique to ``seed``."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(random.Random(seed).randbytes(64) + bytes(2 * RATE - 64))
    return out.getvalue()


HEADERS: Final = frozenset(("anthropic-version", "anthropic-beta", "openai-beta"))
"""Recorded headers to send: those that affect the answer and identify no one."""

ACCOUNTS: Final[Mapping[str, frozenset[str]]] = {
    "chat": frozenset(("user", "safety_identifier")),
    "messages": frozenset(("metadata",)),
    "responses": frozenset(("user", "safety_identifier")),
    "gemini": frozenset(("labels",)),
    "interactions": frozenset(("labels",)),
    "converse": frozenset(("requestMetadata",)),
}
"""Members of a body that identify a user."""


class RecordedRequests:
    """Recorded requests of one kind, in their order. After the last, the first follows again."""

    def __init__(self, request: LoadRequest) -> None:
        assert request.requests is not None
        self._request = request
        self._recorded = recorded_load(request.requests)

    def session(self, number: int, rng: random.Random) -> LoadSession:
        place = number % len(self._recorded.requests)
        recorded, body = self._recorded.requests[place], self._recorded.bodies[place]
        return LazySession(lambda: SingleRequest(repeat_request(self._request, recorded, body)))


def repeat_request(request: LoadRequest, recorded: RecordedRequest, body: bytes) -> PreparedRequest:
    """Return a recorded request with the settings of ``request``, and with its model if it has one."""
    api: LoadApi = recorded.api  # type: ignore[assignment]  # recordings only have supported APIs
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
    return PreparedRequest(kind, sent, headers=headers, asked_output=token_limit_of(members, api))


class FileRequests:
    """Requests of one kind from its file, unchanged and without a mark."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        self._request = request
        self._file = request_file(str(request.requests), request.api)
        self._seed = setting.seed
        self._texts = PromptTexts(setting.mark)
        self._order = functools.lru_cache(maxsize=2)(self._shuffle)

    def session(self, number: int, rng: random.Random) -> LoadSession:
        output, seed = self._request.output.draw(rng), rng.getrandbits(32)
        return LazySession(lambda: self._start(number, output, random.Random(seed)))

    def _start(self, number: int, output: int, rng: random.Random) -> LoadSession:
        """Return a session with one request, or a conversation."""
        found = self._file.request(self._line_number(number))
        opening = self._prepare(found, output)
        if isinstance(found, WholeBody):
            return SingleRequest(opening)
        following = [UserTurn(text) for text in found.later_texts]
        if not following:
            body, recorded = split_turns(opening.request.api, opening.body)
            opening, following = attrs.evolve(opening, body=body), [*recorded]
        return conversation_of(opening, following, self._random_words, rng) if following else SingleRequest(opening)

    def _random_words(self, tokens: int, rng: random.Random) -> str:
        return self._texts.prompt(rng.getrandbits(32), tokens * TOKENS, rng)

    def _line_number(self, number: int) -> int:
        again, place = divmod(number, len(self._file))
        return place if self._request.order == "file" else self._order(again)[place]

    def _shuffle(self, again: int) -> "array[int]":
        """Return another order for each round."""
        found = array("Q", range(len(self._file)))
        random.Random(f"{self._seed} order {again}").shuffle(found)
        return found

    def _prepare(self, found: FileRequest, output: int) -> PreparedRequest:
        if not isinstance(found, WholeBody):
            output = found.output or output
            body = chat_like_body(self._request, found.messages, found.tools, output)
            return PreparedRequest(attrs.evolve(self._request, output=output), body, asked_output=output)
        kind = with_settings_of(self._request, found)
        named = bool(kind.model) and wire_of(kind.api).model_member is not None
        body = with_model(found.body, kind.model) if named else found.body
        return PreparedRequest(kind, body, asked_output=found.output)


class Mix:
    """A mix of sources, chosen at random by their weights."""

    def __init__(self, sources: Sequence[tuple[float, RequestSource]]) -> None:
        self._weights = [weight for weight, _ in sources]
        self._sources = [source for _, source in sources]

    def session(self, number: int, rng: random.Random) -> LoadSession:
        return rng.choices(self._sources, self._weights)[0].session(number, rng)


def _source_of_kind(request: LoadRequest, setting: SourceSetting) -> RequestSource:
    if is_recorded(request.requests):
        return RecordedRequests(request)
    if request.requests:
        return FileRequests(request, setting)
    if request.api == "transcriptions":
        return SoundRequests(request)
    made, trace = MadeRequests(request, setting), setting.trace
    if request.turns.has_several:
        return MadeConversations(request, made, made.words)
    if trace is not None and trace.later_turns:
        return TracedConversations(trace, setting.speed, made, made.words)
    return made


def source_of(requests: Sequence[LoadRequest], setting: SourceSetting) -> RequestSource:
    """Return the source for the mix of a scenario."""
    made = [(request.weight, _source_of_kind(request, setting)) for request in requests]
    return made[0][1] if len(made) == 1 else Mix(made)
