"""Speech, transcriptions and translations of recordings."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Final

from gateway.exchange.conditions import single_target
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.answers import AnswerFilter, PassedAnswer, ResponseReader
from gateway.relay.outputs import SpokenText, transcript_output
from gateway.relay.relaying import InboundRequest, RelayedRequest, set_model
from gateway.relay.uploads import read_priced_upload
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from providers.endpoints.audio import AudioReader, speech_type
from providers.endpoints.audio_length import AudioLength
from providers.endpoints.media_tokens import length_usage, speech_usage
from providers.errors.answer_form import FORMS, TRANSCRIPTS
from providers.neutral.draft import Draft
from streams.events import Usage


async def read_speech(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a request to speak a text."""
    incoming = await inbound.read_json()
    plan = inbound.plan(incoming.model or inbound.default_model)
    incoming = await inbound.apply_edits(incoming, plan)
    kind, spoken = await offload(incoming.size, _read_speech, incoming)
    planned = inbound.plan_json(incoming, plan, partial(set_model, incoming))
    return RelayedRequest(planned, partial(_speech_filter, kind, inbound.context.service.settings.limits.event, spoken))


def _read_speech(incoming: Incoming) -> tuple[str, SpokenText]:
    """Return the type of the recording and the text."""
    draft = Draft(incoming.json)
    return speech_type(draft.value("response_format")), SpokenText.of(draft)


def spoken_usage(spoken: SpokenText, target: Target) -> Usage:
    """Return the usage to bill for ``target`` if its response reports none, as raw audio cannot."""
    usage = Usage(units=spoken.units)
    if target.price is None or not target.price.is_by_tokens:
        return usage
    prompt = Usage(input=max(1, len(spoken.text) // CHARACTERS_PER_TOKEN))
    return usage + prompt + speech_usage(spoken.text, spoken.speed)


_MEANINGLESS_TYPES: Final = ("", "application/octet-stream", "binary/octet-stream")


class TypedAnswer(PassedAnswer):
    """The filter of a response whose content type is ``default_type`` if the provider's is missing or generic
    (BerriAI/litellm#4332, langgenius/dify#39582)."""

    def __init__(self, reading: ResponseReader, event_limit: int, default_type: str) -> None:
        super().__init__(reading, event_limit, form=FORMS["speech"])
        self._default_type = default_type

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "")
        if kind.partition(";")[0].strip().lower() in _MEANINGLESS_TYPES:
            headers = (*(pair for pair in headers if pair[0] != "content-type"), ("content-type", self._default_type))
        return super().head(status, headers)


def _speech_filter(kind: str, event_limit: int, spoken: SpokenText, target: Target) -> AnswerFilter:
    usage = cache(lambda: spoken_usage(spoken, target))  # requested after each piece of the recording
    return TypedAnswer(AudioReader(usage), event_limit, kind)


class TranscriptAnswer(PassedAnswer):
    """The filter of a transcript in the ``response_format`` of ``fields``, which arrive with the request."""

    def __init__(self, reading: ResponseReader, event_limit: int, fields: Mapping[str, str]) -> None:
        super().__init__(reading, event_limit)
        self._fields = fields

    @property
    def is_json(self) -> bool:
        return super().is_json and self._fields.get("response_format") not in TRANSCRIPTS

    def head(self, status: int, headers: Headers) -> Headers:
        wanted = self._fields.get("response_format", "json")
        self._form = TRANSCRIPTS.get(wanted, FORMS["transcriptions"])
        return super().head(status, headers)


async def read_transcript(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a request for a transcription or translation.

    The recording's length is read from the file as it passes, because some response formats do not report it
    (api7/aisix#868)."""
    length = AudioLength()
    upload = await read_priced_upload(inbound, length.feed)
    incoming = inbound.unread_request(upload.model, upload.fields.get("stream") in _TRUE_TEXTS, upload.fields)
    plan = inbound.plan(upload.model or inbound.default_model, _SHAPES)
    target = single_target(inbound.context, plan)
    if upload.is_whole:
        seconds = -(-length.milliseconds() // 1000)
    else:
        seconds = 1 + (inbound.stated_length or ASSUMED_BYTES) // BYTES_PER_SECOND
    body, output = await upload.body_for(target.model), transcript_output(seconds)
    planned = inbound.plan_upload(incoming, target, body, upload.kind, output)
    event_limit = inbound.context.service.settings.limits.event
    return RelayedRequest(planned, partial(_transcript_filter, length, upload.fields, event_limit))


_TRUE_TEXTS: Final = ("true", "True", "1")

BYTES_PER_SECOND: Final = 16_000
"""Bytes per second of a typical compressed recording, for reservations before its length is known."""

ASSUMED_BYTES: Final = 25 * 2**20
"""Assumed bytes of a recording without a stated length: OpenAI's limit."""

_SHAPES: Final = ("openai", "cohere")
"""Shapes of endpoints for transcriptions: both have `file` and `model`, and their responses have `text`."""


def _transcript_filter(
    length: AudioLength, fields: Mapping[str, str], event_limit: int, target: Target
) -> AnswerFilter:
    priced = () if target.price is None else dict(target.price.units)
    by_tokens = "input_audio_token" in priced and "second" not in priced
    reader = AudioReader(lambda: length_usage(length.milliseconds(), by_tokens=by_tokens))
    return TranscriptAnswer(reader, event_limit, fields)
