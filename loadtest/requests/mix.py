"""The source of the requests of a load: a mix of kinds, each with a source of its own. Files, recordings and sounds are
here, prompts that are made here in ``made_requests``."""

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
from loadtest.requests.bodies import spoken_body
from loadtest.requests.conversation import (
    MadeConversations,
    TracedConversations,
    UserTurn,
    conversation_of,
    split_turns,
)
from loadtest.requests.file_requests import FileRequest, WholeBody, asked_limit, request_file, spoken_as, with_model
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
"""Samples a second, of two bytes each: what models of speech are made for."""

_BOUNDARY: Final = "trigate-load-7d1e"
_PART: Final = '--{}\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'


class SoundRequests:
    """Forms with a model and a WAV file, as transcripts are asked for. ``extra`` are more of their fields."""

    def __init__(self, request: LoadRequest) -> None:
        self._request = request
        fields = {"model": request.model, **{name: str(value) for name, value in request.extra.items()}}
        head = "".join(_PART.format(_BOUNDARY, name, "") + value + "\r\n" for name, value in fields.items())
        named = '; filename="load.wav"\r\ncontent-type: audio/wav'
        self._before = (head + _PART.format(_BOUNDARY, "file", named)).encode()
        self._after = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def session(self, number: int, chance: random.Random) -> LoadSession:
        body = b"".join((self._before, silence(chance.getrandbits(32)), self._after))
        headers = (("content-type", f"multipart/form-data; boundary={_BOUNDARY}"),)
        return SingleRequest(PreparedRequest(self._request, body, headers=headers, asked_input=0))


def silence(seed: int) -> bytes:
    """A WAV file of one second, which no other seed has."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(random.Random(seed).randbytes(64) + bytes(2 * RATE - 64))
    return out.getvalue()


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


class FileRequests:
    """Requests of one kind from its file. What stands in them stays to the letter, without a mark."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        self._request = request
        self._file = request_file(str(request.requests), request.api)
        self._seed = setting.seed
        self._texts = PromptTexts(setting.mark)
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def session(self, number: int, chance: random.Random) -> LoadSession:
        output, seed = self._request.output.draw(chance), chance.getrandbits(32)
        return LazySession(lambda: self._begun(number, output, random.Random(seed)))

    def _begun(self, number: int, output: int, chance: random.Random) -> LoadSession:
        """One request, or the conversation of which the file has one side."""
        found = self._file.request(self._place(number))
        opening = self._prepared(found, output)
        if isinstance(found, WholeBody):
            return SingleRequest(opening)
        following = [UserTurn(text) for text in found.said]
        if not following:
            body, recorded = split_turns(opening.request.api, opening.body)
            opening, following = attrs.evolve(opening, body=body), [*recorded]
        return conversation_of(opening, following, self._words, chance) if following else SingleRequest(opening)

    def _words(self, tokens: int, chance: random.Random) -> str:
        return self._texts.prompt(chance.getrandbits(32), tokens * TOKENS, chance)

    def _place(self, number: int) -> int:
        again, place = divmod(number, len(self._file))
        return place if self._request.order == "file" else self._order(again)[place]

    def _shuffled(self, again: int) -> "array[int]":
        """Another order in each round."""
        found = array("Q", range(len(self._file)))
        random.Random(f"{self._seed} order {again}").shuffle(found)
        return found

    def _prepared(self, found: FileRequest, output: int) -> PreparedRequest:
        if not isinstance(found, WholeBody):
            output = found.output or output
            body = spoken_body(self._request, found.messages, found.tools, output)
            return PreparedRequest(attrs.evolve(self._request, output=output), body, asked_output=output)
        kind = spoken_as(self._request, found)
        named = bool(kind.model) and wire_of(kind.api).model_member is not None
        body = with_model(found.body, kind.model) if named else found.body
        return PreparedRequest(kind, body, asked_output=found.output)


class Mix:
    """Requests of several kinds, by their weights, each made by the source of its kind."""

    def __init__(self, sources: Sequence[tuple[float, RequestSource]]) -> None:
        self._weights = [weight for weight, _ in sources]
        self._sources = [source for _, source in sources]

    def session(self, number: int, chance: random.Random) -> LoadSession:
        return chance.choices(self._sources, self._weights)[0].session(number, chance)


def _source(request: LoadRequest, setting: SourceSetting) -> RequestSource:
    """Return the source of one kind of request."""
    if is_recorded(request.requests):
        return RecordedRequests(request)
    if request.requests:
        return FileRequests(request, setting)
    if request.api == "transcriptions":
        return SoundRequests(request)
    made, trace = MadeRequests(request, setting), setting.trace
    if request.turns.several:
        return MadeConversations(request, made, made.words)
    if trace is not None and trace.behind:
        return TracedConversations(trace, setting.speed, made, made.words)
    return made


def source_of(requests: Sequence[LoadRequest], setting: SourceSetting) -> RequestSource:
    """The source of the mix of a scenario."""
    made = [(request.weight, _source(request, setting)) for request in requests]
    return made[0][1] if len(made) == 1 else Mix(made)
