"""Responses of stand-ins for providers at endpoints other than conversations: fixed words and vectors or, in retrieval,
vectors of the words in a text."""

import base64
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, json_answer

Embedder: TypeAlias = Callable[[Sequence[str]], list[list[float]]]

_RESULTS: Final = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.25}]
_WORDS: Final = ("capital", "nevada", "carson", "city", "saipan", "island", "sea", "town", "number", "largest")


def by_place(texts: Sequence[str]) -> list[list[float]]:
    return [[0.5, float(index)] for index in range(len(texts))]


def by_words(texts: Sequence[str]) -> list[list[float]]:
    return [[0.25, *(float(_words(text).count(word)) for word in _WORDS)] for text in texts]


def answer_fixed(asked: ReceivedRequest) -> ScriptedAnswer:
    """Return a fixed response in the shape of the request."""
    if "rerank" in asked.path and "texts" in asked.json:
        return json_answer([{"index": 0, "score": 0.25}, {"index": 2, "score": 0.9}, {"index": 1, "score": 0.1}])
    if "rerank" in asked.path:
        documents = {"document": {"text": "Washington"}}, {"document": {"text": "Carson City"}}
        echoed = documents if asked.json.get("return_documents") else ({}, {})  # Cohere's second version has none
        results = [{**one, **echo} for one, echo in zip(_RESULTS, echoed, strict=True)]
        return json_answer({"id": "1", "results": results, "meta": {"billed_units": {"search_units": 1}}})
    if "transcriptions" in asked.path:
        return json_answer({"text": "hello"})
    return embeddings_for(asked, by_place)


def answer_by_words(asked: ReceivedRequest) -> ScriptedAnswer:
    """Return vectors and ranks by the words of texts, or an answer from the texts in the prompt."""
    if "rerank" in asked.path:
        wanted = set(_words(asked.json["query"]))
        found = [len(wanted.intersection(_words(text))) / 10 for text in asked.json["documents"]]
        order = sorted(range(len(found)), key=lambda index: -found[index])[: asked.json.get("top_n")]
        results = [{"index": index, "relevance_score": found[index]} for index in order]
        return json_answer({"id": "1", "results": results, "meta": {"billed_units": {"search_units": 1}}})
    if asked.path.endswith("/chat/completions"):
        said = {"role": "assistant", "content": "Carson City." if b"Carson City" in asked.body else "I do not know."}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return json_answer({"id": "1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage})
    return embeddings_for(asked, by_words)


def embeddings_for(asked: ReceivedRequest, embed: Embedder) -> ScriptedAnswer:
    """Return vectors in the shape of the request."""
    if asked.path.endswith(":batchEmbedContents"):
        found = embed([one["content"]["parts"][0]["text"] for one in asked.json["requests"]])
        return json_answer({"embeddings": [{"values": one} for one in found]})
    if asked.path.endswith("/embed"):
        numbers = embed(asked.json["texts"])
        forms: dict[str, list[Any]] = {"float": list(numbers), "base64": [_pack(one) for one in numbers]}
        by_type = {type: forms[type] for type in asked.json["embedding_types"]}
        return json_answer({"id": "1", "embeddings": by_type, "meta": {"billed_units": {"input_tokens": 2}}})
    texts = asked.json["input"]
    data = [
        {"index": index, "embedding": vector}
        for index, vector in enumerate(embed([texts] if isinstance(texts, str) else texts))
    ]
    return json_answer({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}})


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _pack(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
