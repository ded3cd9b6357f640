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
from gateway.mock.called import EndpointCall, UploadedFile
from gateway.mock.faults import Piece, ScriptedAnswer
from gateway.mock.media import RATE, color_of, picture, tone, wav
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


def to_base64(values: Sequence[float]) -> str:
    """Encode ``values`` in OpenAI's base64 format: little-endian single-precision floats."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


@lru_cache(maxsize=2048)
def _word_vector(word: str, width: int) -> tuple[float, ...]:
    return tuple(byte / 127.5 - 1 for byte in hashlib.shake_128(word.encode(errors="replace")).digest(width))


AnswerCall: TypeAlias = Callable[[EndpointCall], ScriptedAnswer]

TRANSCRIPT: Final = f"{words.WHO} It does not listen."
_MOST_CHOICES: Final = 32
_MOST_PICTURES: Final = 10
_PICTURES: Final = "/pictures/"
_PICTURE_NAME: Final = re.compile(r"([0-9a-f]{6})\.png")
_WRITE_BYTES: Final = 4096  # bytes of audio per write


def json_answer(value: object) -> ScriptedAnswer:
    return ScriptedAnswer(None, (Piece(msgspec.json.encode(value)),), JSON_HEADERS)


def bytes_answer(content: bytes, type: str) -> ScriptedAnswer:
    return ScriptedAnswer(None, (Piece(content),), (("content-type", type),))


def event_answer(events: Iterable[Mapping[str, Any]], *, has_name: bool = True, done: bool = False) -> ScriptedAnswer:
    """Return a stream of ``events``, with event names if ``has_name``, and Chat's ``[DONE]`` if ``done``."""
    pieces = [
        Piece(b"".join((*_event_line(one, has_name), b"data: ", msgspec.json.encode(one), b"\n\n")), content=True)
        for one in events
    ]
    return ScriptedAnswer(SSE, (*pieces, *([Piece(b"data: [DONE]\n\n")] if done else [])), STREAM_HEADERS)


def _event_line(event: Mapping[str, Any], has_name: bool) -> tuple[bytes, ...]:
    return (f"event: {event['type']}\n".encode(),) if has_name else ()


def token_count(texts: Sequence[str]) -> int:
    return sum(max(1, len(text) // 4) for text in texts)


# Embeddings


def embeddings(call: EndpointCall) -> ScriptedAnswer:
    """Return embeddings in the shape of OpenAI, Mistral, Voyage and Jina, which differ in the member for the
    dimensions."""
    texts, base64_asked = call.texts("input"), call.members.get("encoding_format") == "base64"
    width = call.number("output_dimension" if "output_dimension" in call.members else "dimensions", WIDTH, MAX_WIDTH)
    vectors = [vector(text, width) for text in texts]
    data = [
        {"object": "embedding", "index": at, "embedding": to_base64(one) if base64_asked else one}
        for at, one in enumerate(vectors)
    ]
    used = token_count(texts)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return json_answer({"object": "list", "data": data, "model": call.model, "usage": usage})


def embed_cohere(call: EndpointCall) -> ScriptedAnswer:
    """Return embeddings in the shape of Cohere, versions 1 and 2."""
    texts = call.texts("texts" if "texts" in call.members else "inputs")
    width = call.number("output_dimension", WIDTH, MAX_WIDTH)
    vectors = [vector(text, width) for text in texts]
    kinds = call.members.get("embedding_types") or (["float"] if call.path.startswith("/v2") else None)
    found: Any = vectors
    if kinds is not None:
        found = {kind: [to_base64(one) if kind == "base64" else one for one in vectors] for kind in kinds}
    meta = {"api_version": {"version": call.path[2:3]}, "billed_units": {"input_tokens": token_count(texts)}}
    return json_answer({"id": new_id(""), "texts": texts, "embeddings": found, "meta": meta})


def embed_gemini(call: EndpointCall) -> ScriptedAnswer:
    """Return the embedding of one text in Gemini's shape."""
    return json_answer({"embedding": {"values": _gemini_vector(call.members)}})


def embed_gemini_batch(call: EndpointCall) -> ScriptedAnswer:
    """Return the embeddings of several texts in Gemini's shape."""
    return json_answer({"embeddings": [{"values": _gemini_vector(one)} for one in call.objects("requests")]})


def _gemini_vector(request: Mapping[str, Any]) -> list[float]:
    (text,) = EndpointCall({"content": request.get("content", "")}).texts("content")
    return vector(text, EndpointCall(request).number("outputDimensionality", WIDTH, MAX_WIDTH))


def embed_tei(call: EndpointCall) -> ScriptedAnswer:
    """Return embeddings in TEI's shape, a list of vectors."""
    return json_answer([vector(text) for text in call.texts("inputs")])


# Rerank


def rerank(call: EndpointCall) -> ScriptedAnswer:
    """Return a ranking in the shape of Cohere and Jina, of TEI with ``texts``, or of Voyage with ``top_k``."""
    query, documents = call.texts("query")[0], call.texts("texts" if "texts" in call.members else "documents")
    scored = sorted(((similarity_of(query, text), -at) for at, text in enumerate(documents)), reverse=True)
    if "texts" in call.members:
        return json_answer([{"index": -at, "score": score} for score, at in scored])
    most = call.number("top_k" if "top_k" in call.members else "top_n", len(documents) or 1, len(documents) or 1)
    results: list[dict[str, Any]] = [{"index": -at, "relevance_score": score} for score, at in scored[:most]]
    if call.members.get("return_documents") is True:
        results = [{**one, "document": {"text": documents[one["index"]]}} for one in results]
    used = token_count([query, *documents])
    if "top_k" in call.members:
        return json_answer({"object": "list", "data": results, "model": call.model, "usage": {"total_tokens": used}})
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    answer = {"id": new_id(""), "model": call.model, "results": results, "usage": {"total_tokens": used}}
    return json_answer({**answer, "meta": meta} if call.path.startswith("/v2") else answer)


# Texts


def completions(call: EndpointCall) -> ScriptedAnswer:
    """Return completions in OpenAI's shape, ``n`` for each prompt; streams have one word per event."""
    prompts, each = call.texts("prompt"), call.number("n", 1, _MOST_CHOICES)
    places = range(min(_MOST_CHOICES, len(prompts) * each))
    text = f" and so on. {words.WHO}"
    first = {"id": new_id("cmpl-"), "object": "text_completion", "created": int(time.time()), "model": call.model}
    used = {"prompt_tokens": token_count(prompts), "completion_tokens": len(places) * len(text.split())}
    usage = {**used, "total_tokens": sum(used.values())}
    end = {"logprobs": None, "finish_reason": "stop"}
    if not call.stream:
        return json_answer({**first, "choices": [{"index": at, "text": text, **end} for at in places], "usage": usage})
    events = [
        {**first, "choices": [{"index": at, "text": f" {word}", "logprobs": None, "finish_reason": None}]}
        for word in text.split() for at in places
    ]  # fmt: skip
    events += [{**first, "choices": [{"index": at, "text": "", **end}]} for at in places]
    counts = call.members.get("stream_options") == {"include_usage": True}
    return event_answer(
        [*events, *([{**first, "choices": [], "usage": usage}] if counts else [])], has_name=False, done=True
    )


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
    """Return images in OpenAI's shape for generations and edits, also in an event or as links."""
    prompt = str(call.members.get("prompt", ""))
    kind = "image_edit" if call.path.endswith("edits") else "image_generation"
    color = color_of(prompt)
    encoded = base64.b64encode(picture(color)).decode()
    count = call.number("n", 1, _MOST_PICTURES)
    used = {"input_tokens": token_count([prompt]), "output_tokens": 100 * count}
    usage = {**used, "total_tokens": sum(used.values()), "input_tokens_details": {
        "text_tokens": used["input_tokens"], "image_tokens": 0}}  # fmt: skip
    if not call.stream:
        link = {"url": f"{call.origin}{_PICTURES}{color.hex()}.png"}
        data = [link if call.members.get("response_format") == "url" else {"b64_json": encoded}] * count
        return json_answer({"created": int(time.time()), "data": data, "usage": usage, "output_format": "png"})
    about = {
        "created_at": int(time.time()), "size": "16x16", "quality": "low", "output_format": "png",
        "background": "opaque",
    }  # fmt: skip
    return event_answer([{"type": f"{kind}.completed", "b64_json": encoded, "usage": usage, **about}])


def show_picture(call: EndpointCall) -> ScriptedAnswer:
    """Return the picture at a link of ``images``, which has its colour."""
    if (found := _PICTURE_NAME.fullmatch(call.path_parameters["id"])) is None:
        raise GatewayError("not_found", "there is no picture with this name")
    return bytes_answer(picture(bytes.fromhex(found[1])), "image/png")


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
    file = _uploaded_file(call)
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


def _uploaded_file(call: EndpointCall) -> UploadedFile:
    if not call.files.get("file"):
        raise invalid("file is required: send a recording as a file in multipart/form-data", "file")
    return call.files["file"][0]


def search_pages(call: EndpointCall) -> ScriptedAnswer:
    """Return two pages about the query, as SearXNG does."""
    query = call.query.get("q", "")
    pages = [{"url": f"https://{name}.example/{number}", "title": f"{name.title()} about {query}",
              "content": f"What {name} says about {query}."}
             for number, name in enumerate(("news", "docs"), 1)]  # fmt: skip
    return json_answer({"query": query, "results": pages})


POST_ANSWERS: Final[Mapping[str, AnswerCall]] = {
    "/v1/embeddings": embeddings, "/v1beta/openai/embeddings": embeddings,
    **dict.fromkeys(("/v1/embed", "/v2/embed"), embed_cohere), "/embed": embed_tei,
    **dict.fromkeys(("/v1/models/{model}:embedContent", "/v1beta/models/{model}:embedContent"), embed_gemini),
    **dict.fromkeys(
        ("/v1/models/{model}:batchEmbedContents", "/v1beta/models/{model}:batchEmbedContents"), embed_gemini_batch
    ),
    **dict.fromkeys(("/v1/pooling", "/pooling"), embeddings),
    "/v1/completions": completions, "/beta/completions": completions,
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
