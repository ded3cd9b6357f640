"""The output that a prepared request to each endpoint allows, read from the bytes that its provider receives.

Budgets reserve by these rows, for single requests as for those in batches and on pass-through paths."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import attrs

from gateway.config.settings import Reserve
from gateway.http.paths import V1, canonical
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.request.prepared import (
    MAX_ANSWERS,
    MAX_REQUESTED,
    NO_OUTPUT,
    UNSPECIFIED,
    RequestedOutput,
    read_output,
    requested_output,
)
from gateway.serving.route_table import pattern_of
from providers.apis import CODECS
from providers.endpoints import completions
from providers.endpoints.audio_length import AudioLength
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.endpoints.media_tokens import WantedPictures, speech_usage, transcript_usage
from providers.neutral.draft import Draft
from providers.neutral.values import as_count
from streams.errors import GatewayError
from streams.events import Api, Usage
from streams.surrogates import NOT_JSON

OutputReader: TypeAlias = Callable[[bytes], RequestedOutput]
"""A function that returns the output that a JSON body allows."""

NOTED_FIELDS: Final = frozenset(
    ("stream", "response_format", "size", "quality", "n", "partial_images", "input_fidelity", "seconds", "user")
)
"""Fields that affect the response or its cost, or label the request."""


def no_output(body: bytes) -> RequestedOutput:
    """Return no output, for endpoints whose responses have no tokens."""
    return NO_OUTPUT


def unknown_output(body: bytes) -> RequestedOutput:
    return UNSPECIFIED


def completion_output(body: bytes) -> RequestedOutput:
    """Return the output of a completion: ``best_of`` choices for each prompt are billed, although the response has only
    ``n``."""
    draft = Draft.of(body)
    prompt, output = draft.value("prompt"), read_output(body, ("max_tokens",), ("n",))
    ids, texts = completions.count_token_ids(prompt), completions.prompt_texts(prompt)
    return attrs.evolve(
        output,
        max_tokens=0 if draft.value("max_tokens") == 0 else output.max_tokens,  # OpenAI then only returns the prompt
        answers=min(output.answers * completions.count_prompts(prompt), MAX_ANSWERS),
        input=max(1, ids + sum(map(len, texts)) // CHARACTERS_PER_TOKEN) if ids else None,
    )


_SEARCHED_MEMBERS: Final = ("documents", "texts", "records", "passages")
_DOCUMENTS_PER_SEARCH: Final = 100  # https://docs.cohere.com/docs/rerank-overview


def search_output(body: bytes) -> RequestedOutput:
    """Return the searches of a ranking: one for each hundred documents."""
    draft = Draft.of(body)
    number = max((len(one) for name in _SEARCHED_MEMBERS if isinstance(one := draft.value(name), list)), default=0)
    return attrs.evolve(NO_OUTPUT, units=(("search", max(1, -(-number // _DOCUMENTS_PER_SEARCH))),))


EXPECTED_PAGES: Final = 10
"""Pages of a document of unknown length."""

MAX_PAGES: Final = 1000
"""Pages of the longest document (https://docs.mistral.ai/capabilities/document_ai/basic_ocr)."""


def page_output(body: bytes) -> RequestedOutput:
    """Return the pages of a document to read."""
    pages = Draft.of(body).value("pages")
    if isinstance(pages, list) and pages and all(type(page) is int for page in pages):
        return attrs.evolve(NO_OUTPUT, units=(("page", len(pages)),))
    return attrs.evolve(NO_OUTPUT, units=(("page", EXPECTED_PAGES),), max_units=(("page", MAX_PAGES),))


FILM_SECONDS: Final = 4
"""Seconds of a video whose request states no length (https://platform.openai.com/docs/api-reference/videos/create)."""

MAX_FILM_SECONDS: Final = 12
"""Seconds of the longest video in OpenAI's form. Other servers may have another default."""


def video_output(seconds: Any) -> RequestedOutput:
    """Return the output of a video with ``seconds``, a number or its text."""
    if (stated := as_count(seconds)) is not None:
        return attrs.evolve(NO_OUTPUT, units=(("second", min(stated, MAX_REQUESTED)),))
    return attrs.evolve(NO_OUTPUT, units=(("second", FILM_SECONDS),), max_units=(("second", MAX_FILM_SECONDS),))


def _json_video(body: bytes) -> RequestedOutput:
    return video_output(Draft.of(body).value("seconds"))


@attrs.frozen
class SpokenText:
    """A text to speak, with its ``speed`` as a factor; calculates the usage to bill."""

    text: str
    speed: float = 1.0

    @classmethod
    def of(cls, draft: Draft) -> "SpokenText":
        text, speed = draft.value("input"), draft.value("speed")
        return cls(text if isinstance(text, str) else "", _speed_factor(speed))

    @property
    def units(self) -> tuple[tuple[str, int], ...]:
        return (("character", len(self.text)),)

    def tokens(self, model: str, reserve: Reserve) -> Usage:
        """Return the expected tokens of the audio, to reserve them (the function is a ``MediaUsage``)."""
        return speech_usage(self.text, self.speed, most=reserve == "max")


def _speed_factor(value: Any) -> float:
    """Return the factor that a server may read from a number or its text."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 1.0


def speech_output(body: bytes) -> RequestedOutput:
    """Return the characters to speak, or their tokens."""
    spoken = SpokenText.of(Draft.of(body))
    return attrs.evolve(NO_OUTPUT, units=spoken.units, media=spoken.tokens)


def transcript_output(seconds: int) -> RequestedOutput:
    """Return the seconds of a recording, or their tokens."""
    return attrs.evolve(NO_OUTPUT, units=(("second", seconds),), media=lambda *_: transcript_usage(seconds))


def wanted_pictures(draft: Draft) -> WantedPictures:
    """Return number and size of the pictures that a JSON request wants."""
    given = draft.value("images"), draft.value("image"), draft.value("mask")
    inputs = sum(len(one) if isinstance(one, list) else 1 for one in given if one)
    return WantedPictures.of(noted_members(draft), inputs)


def noted_members(draft: Draft) -> dict[str, str]:
    """Return the members in ``NOTED_FIELDS`` as the texts that a form would have."""
    return {name: str(value) for name in NOTED_FIELDS if isinstance(value := draft.value(name), str | int | float)}


def picture_output(wanted: WantedPictures) -> RequestedOutput:
    """Return the output to reserve for pictures, which are billed by number or tokens."""
    units = (("image", wanted.number),)
    return attrs.evolve(NO_OUTPUT, units=units, media=lambda model, reserve: wanted.usage(model, most=reserve == "max"))


def _json_pictures(body: bytes) -> RequestedOutput:
    return picture_output(wanted_pictures(Draft.of(body)))


_WITHOUT_OUTPUT: Final[tuple[EndpointName, ...]] = (
    "embeddings", "moderations", "score", "pooling", "classify", "predict", "similarity", "chat_moderations",
    "classifications", "chat_classifications", "files", "uploads", "vector_stores", "containers", "batches",
    "message_batches", "voices", "mcp", "decisions", "content_provenance_checks", "search",
)  # fmt: skip
OUTPUTS: Final[Mapping[EndpointName, OutputReader]] = {
    **dict.fromkeys(_WITHOUT_OUTPUT, no_output),
    "completions": completion_output,
    "fim": completion_output,
    "rerank": search_output,
    "ocr": page_output,
    "image_generations": _json_pictures,
    "image_edits": _json_pictures,
    "image_variations": _json_pictures,
    "speech": speech_output,
    "transcriptions": unknown_output,
    "translations": unknown_output,
    "videos": _json_video,
    "realtime": unknown_output,
    "passthrough": unknown_output,
    "realtime_translations": unknown_output,
    "live": unknown_output,
}
"""The reader of each endpoint's JSON bodies."""

_BY_PATH: Final = tuple((pattern_of(path), one.name) for one in ENDPOINTS.values() for path in one.paths)
_AZURE: Final = re.compile(r"/openai/deployments/[^/]+(?=/)")


FORM_ENDPOINTS: Final[frozenset[EndpointName]] = frozenset(
    ("image_edits", "image_variations", "transcriptions", "translations", "videos")
)
"""Endpoints whose requests are forms with files."""


def form_output(endpoint: EndpointName, fields: Mapping[str, str], length: AudioLength) -> RequestedOutput:
    """Return the output that a form for ``endpoint`` allows, with its ``fields`` and the ``length`` of its file."""
    if endpoint in ("image_edits", "image_variations"):
        return picture_output(WantedPictures.of(fields, None))
    if endpoint == "videos":
        return video_output(fields.get("seconds"))
    return transcript_output(-(-length.milliseconds() // 1000))


def endpoint_of_path(path: str) -> EndpointName | None:
    """Return the endpoint at ``path`` of a provider, ``None`` if the path is unknown or a conversation's."""
    path = canonical(_AZURE.sub("", path))
    paths = (path, V1 + path)  # a base URL may end in /v1
    return next((name for pattern, name in _BY_PATH if any(map(pattern.fullmatch, paths))), None)


def reader_of_path(api: Api, path: str) -> OutputReader:
    """Return the reader for bodies to ``path`` of a provider, whose shape is that of ``api``."""
    path = canonical(_AZURE.sub("", path))
    for route in CODECS[api].wire.routes():
        if pattern_of(route.path).fullmatch(path) is not None:
            return no_output if route.operation == "count" else partial(requested_output, api)
    endpoint = endpoint_of_path(path)
    return unknown_output if endpoint is None else OUTPUTS[endpoint]


def read_safely(read: OutputReader, body: bytes) -> RequestedOutput:
    """Return what ``read`` finds in ``body``, and unlimited output for a body that it cannot read."""
    try:
        return read(body)
    except (GatewayError, *NOT_JSON):
        return UNSPECIFIED
