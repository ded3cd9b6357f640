"""The stand-in's responses other than conversations, in each provider's shape: vectors, rankings, pictures, tones,
transcripts."""

import base64
import hashlib
import math
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from gateway.http.response import JSON_HEADERS, STREAM_HEADERS
from gateway.mock import words
from gateway.mock.called import EndpointCall
from gateway.mock.faults import Piece, ScriptedAnswer
from gateway.mock.media import PICTURE, RATE, tone, wav
from providers.neutral.codec import new_id
from streams.errors import GatewayError, invalid
from streams.sse import SSE

WIDTH: Final = 64
MAX_WIDTH: Final = 4096  # the longest vector
_WORD: Final = re.compile(r"\w+")


def vector(text: str, width: int = WIDTH) -> list[float]:
    """Return an embedding of ``text`` with length 1, so that texts with common words are similar."""
    counted = Counter(_WORD.findall(text.lower())) or Counter([text])
    total = [0.0] * width
    for word, times in counted.items():
        for place, value in enumerate(_word_vector(word, width)):
            total[place] += times * value
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [value / length for value in total]


def similarity_of(one: str, other: str) -> float:
    """Return the similarity of two texts, from 0 to 1."""
    return max(0.0, sum(a * b for a, b in zip(vector(one), vector(other), strict=True)))


@lru_cache(maxsize=2048)
def _word_vector(word: str, width: int) -> tuple[float, ...]:
    return tuple(byte / 127.5 - 1 for byte in hashlib.shake_128(word.encode(errors="replace")).digest(width))


AnswerCall: TypeAlias = Callable[[EndpointCall], ScriptedAnswer]

TRANSCRIPT: Final = f"{words.WHO} It does not listen."
_MOST_PICTURES: Final = 10
_PICTURES: Final = "/pictures/"
_WRITE_BYTES: Final = 4096  # bytes of audio per write


def json_answer(value: object) -> ScriptedAnswer:
    return ScriptedAnswer(None, (Piece(msgspec.json.encode(value)),), JSON_HEADERS)


def bytes_answer(content: bytes, type: str) -> ScriptedAnswer:
    return ScriptedAnswer(None, (Piece(content),), (("content-type", type),))


def event_answer(events: Iterable[Mapping[str, Any]]) -> ScriptedAnswer:
    """Return a stream of ``events`` with their names."""
    pieces = [
        Piece(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), msgspec.json.encode(one)), True) for one in events
    ]
    return ScriptedAnswer(SSE, tuple(pieces), STREAM_HEADERS)


def token_count(texts: Sequence[str]) -> int:
    return sum(max(1, len(text) // 4) for text in texts)


# Embeddings


def embeddings(call: EndpointCall) -> ScriptedAnswer:
    """Return embeddings in OpenAI's shape."""
    texts, base64_asked = call.texts("input"), call.members.get("encoding_format") == "base64"
    vectors: list[Any] = [vector(text, call.number("dimensions", WIDTH, MAX_WIDTH)) for text in texts]
    if base64_asked:  # little-endian single-precision floats
        vectors = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in vectors]
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
    used = token_count(texts)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return json_answer({"object": "list", "data": data, "model": call.model, "usage": usage})


def embed_gemini(call: EndpointCall) -> ScriptedAnswer:
    """Return embeddings in Gemini's shape."""
    return json_answer({"embeddings": [{"values": vector(text)} for text in call.texts("requests")]})


# Rerank


def rerank(call: EndpointCall) -> ScriptedAnswer:
    """Return a ranking in the shape of Cohere and Jina."""
    query, documents = call.texts("query")[0], call.texts("documents")
    scored = sorted(((similarity_of(query, text), -at) for at, text in enumerate(documents)), reverse=True)
    most = call.number("top_n", len(documents) or 1, len(documents) or 1)
    results: list[dict[str, Any]] = [{"index": -at, "relevance_score": score} for score, at in scored[:most]]
    if call.members.get("return_documents") is True:
        results = [{**one, "document": {"text": documents[one["index"]]}} for one in results]
    usage = {"total_tokens": token_count([query, *documents])}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return json_answer({"id": new_id(""), "model": call.model, "results": results, "usage": usage, "meta": meta})


# Texts


def completions(call: EndpointCall) -> ScriptedAnswer:
    """Return a completion for each prompt in OpenAI's shape. A stream has one event."""
    prompts, text = call.texts("prompt"), f" and so on. {words.WHO}"
    used = {"prompt_tokens": token_count(prompts), "completion_tokens": len(prompts) * len(text.split())}
    choices = [{"index": at, "text": text, "logprobs": None, "finish_reason": "stop"} for at in range(len(prompts))]
    found = {"id": new_id("cmpl-"), "object": "text_completion", "created": int(time.time()), "model": call.model,
             "choices": choices, "usage": {**used, "total_tokens": sum(used.values())}}  # fmt: skip
    if call.stream:
        event = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(found)
        return ScriptedAnswer(SSE, (Piece(event, content=True),), STREAM_HEADERS)
    return json_answer(found)


_CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


def moderations(call: EndpointCall) -> ScriptedAnswer:
    """Return moderations in OpenAI's shape: a text that contains ``violence`` is flagged for it, and so on.

    Parts of one input count as one text."""
    value = call.members.get("input")
    mixed = isinstance(value, list) and any(isinstance(one, dict) for one in value)
    texts = [" ".join(call.texts("input"))] if mixed else call.texts("input")
    results = []
    for text in texts:
        found = {name: name in text.lower() for name in _CATEGORIES}
        scores = {name: 0.9 if there else 0.01 for name, there in found.items()}
        types = {name: ["text"] for name in _CATEGORIES}
        result = {"flagged": any(found.values()), "categories": found, "category_scores": scores}
        results.append({**result, "category_applied_input_types": types})
    return json_answer({"id": new_id("modr-"), "model": call.model, "results": results})


# Pictures


def images(call: EndpointCall) -> ScriptedAnswer:
    """Return images in OpenAI's shape, also as links."""
    count = call.number("n", 1, _MOST_PICTURES)
    used = {"input_tokens": token_count([str(call.members.get("prompt", ""))]), "output_tokens": 100 * count}
    usage = {**used, "total_tokens": sum(used.values()), "input_tokens_details": {
        "text_tokens": used["input_tokens"], "image_tokens": 0}}  # fmt: skip
    link, encoded = {"url": f"{call.origin}{_PICTURES}00ff00.png"}, {"b64_json": base64.b64encode(PICTURE).decode()}
    data = [link if call.members.get("response_format") == "url" else encoded] * count
    return json_answer({"created": int(time.time()), "data": data, "usage": usage, "output_format": "png"})


def show_picture(call: EndpointCall) -> ScriptedAnswer:
    """Return the picture at a link of ``images``."""
    if not call.path_parameters["id"].endswith(".png"):
        raise GatewayError("not_found", "there is no picture with this name")
    return bytes_answer(PICTURE, "image/png")


# Audio


def speech(call: EndpointCall) -> ScriptedAnswer:
    """Return speech in OpenAI's shape: a tone with the duration of the text, as WAV, because the stand-in has no
    codecs."""
    text = str(call.members.get("input", ""))
    if not text:
        raise invalid("input is required: the text to speak", "input")
    samples = tone(text)
    sound = samples if call.members.get("response_format") == "pcm" else wav(samples)
    pieces = [sound[at : at + _WRITE_BYTES] for at in range(0, len(sound), _WRITE_BYTES)]
    type = "audio/pcm" if sound is samples else "audio/wav"
    return ScriptedAnswer(SSE, tuple(Piece(one, True) for one in pieces), (("content-type", type),))


def transcript(call: EndpointCall) -> ScriptedAnswer:
    """Return a transcript in OpenAI's shape: streamed, as JSON, or as a text."""
    if not call.files.get("file"):
        raise invalid("file is required: send a recording as a file in multipart/form-data", "file")
    file = call.files["file"][0]
    seconds = max(1, len(file.content) // (2 * RATE))
    text = f"{TRANSCRIPT} The file {file.name} has {len(file.content)} bytes."
    if call.stream:
        events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": f"{word} "} for word in text.split()]
        used = {"input_tokens": 10 * seconds, "output_tokens": token_count([text])}
        tokens = {"type": "tokens", **used, "total_tokens": sum(used.values())}
        return event_answer([*events, {"type": "transcript.text.done", "text": text, "usage": tokens}])
    if call.members.get("response_format") == "text":
        return bytes_answer(text.encode() + b"\n", "text/plain; charset=utf-8")
    return json_answer({"text": text, "usage": {"type": "duration", "seconds": seconds}})


def search_pages(call: EndpointCall) -> ScriptedAnswer:
    """Return two pages about the query, as SearXNG does."""
    query = call.query.get("q", "")
    pages = [{"url": f"https://{name}.example/{number}", "title": f"{name.title()} about {query}",
              "content": f"What {name} says about {query}."}
             for number, name in enumerate(("news", "docs"), 1)]  # fmt: skip
    return json_answer({"query": query, "results": pages})


POST_ANSWERS: Final[Mapping[str, AnswerCall]] = {
    **dict.fromkeys(("/v1/embeddings", "/v1beta/openai/embeddings", "/v1/pooling"), embeddings),
    "/v1beta/models/{model}:batchEmbedContents": embed_gemini,
    "/v1/completions": completions,
    **dict.fromkeys(("/v1/moderations", "/v1/chat/moderations"), moderations),
    **dict.fromkeys(("/v1/rerank", "/v2/rerank", "/rerank"), rerank),
    **dict.fromkeys(("/v1/images/generations", "/v1/images/edits", "/v1/images/variations"), images),
    "/v1/audio/speech": speech,
    **dict.fromkeys(
        ("/v1/audio/transcriptions", "/v2/audio/transcriptions", "/v1/audio/translations"), transcript
    ),
}  # fmt: skip
"""Responses to ``POST`` by path."""

GET_ANSWERS: Final[Mapping[str, AnswerCall]] = {
    "/search": search_pages,
    f"{_PICTURES}{{id}}": show_picture,
}
"""Responses to ``GET`` by path."""
