"""Any values of clients and providers: a client's mistake is a 400, a provider's a 502, and nothing else happens."""

import json
import random
from typing import Any, Final

import pytest

from providers.endpoints.embeddings.calling import call
from providers.endpoints.embeddings.filtering import EmbeddingAnswerConverter
from providers.endpoints.embeddings.shapes import ClientShape
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.draft import Draft
from streams.errors import GatewayError

VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, 10**400, "", "x", "AACAPw==", "base64", "int8", "search_query", [], [1], [1, "x"], ["a"],
    [[1], [2]], [[]], {}, {"text": "a"}, [{"text": "a"}], [{"image": "u"}], {"parts": [{"text": "a"}]},
    [{"content": {"parts": [{"text": "x"}]}}], [{"content": [{"type": "text", "text": "q"}]}], {"float": [[1]]},
    {"float": [[1], [2]], "base64": ["AACAPw==", "AACAPw=="]}, [{"embedding": [1], "index": 0}], [{"values": [1]}],
    [{"embedding": [1], "index": 1}, {"embedding": "AACAPw==", "index": 0}], {"values": [1]}, {"prompt_tokens": -1},
    {"billed_units": {"input_tokens": 1.5, "images": "x"}},
)  # fmt: skip
ASKED: Final = [
    "input",
    "texts",
    "images",
    "inputs",
    "requests",
    "content",
    "dimensions",
    "output_dimension",
    "encoding_format",
    "embedding_type",
    "embedding_types",
    "output_dtype",
    "input_type",
    "task",
    "taskType",
    "outputDimensionality",
    "title",
    "truncate",
    "user",
    "messages",
]
TOLD: Final = ["data", "embeddings", "embedding", "usage", "meta", "usageMetadata", "model", "id"]
SHAPES: Final = ("openai", "mistral", "voyage", "jina", "nim", "cohere", "gemini", "tei")
CLIENTS: Final[tuple[ClientShape, ...]] = ("openai", "cohere_v1", "cohere_v2", "gemini_one", "gemini_batch")
MAIN: Final[dict[ClientShape, dict[str, Any]]] = {
    "openai": {"input": ["a", "b"]}, "cohere_v1": {"texts": ["a", "b"]}, "cohere_v2": {"texts": ["a", "b"]},
    "gemini_one": {"content": {"parts": [{"text": "a"}]}},
    "gemini_batch": {"requests": [{"content": {"parts": [{"text": "a"}]}}] * 2},
}  # fmt: skip


def some(names: list[str], seed: random.Random) -> dict[str, Any]:
    return {name: seed.choice(VALUES) for name in seed.sample(names, seed.randint(0, 3))}


def outcome(number: int) -> str:
    """Return the result of a request and its answers; ``number`` selects them."""
    seed = random.Random(number)
    client, shape = seed.choice(CLIENTS), seed.choice(SHAPES)
    body = json.dumps({**seed.choice(({}, MAIN[client])), **some(ASKED, seed)}).encode()
    traits = EmbeddingTraits(seed.choice((None, 1)), token_arrays=seed.random() < 0.5, takes_purpose="required")
    try:
        made = call(client, Draft.of(body), "m", shape, traits)
    except GatewayError as error:
        return f"request {error.info.status}"
    reading = EmbeddingAnswerConverter(made.answer)
    try:
        for place, _ in enumerate(made.bodies):
            if place:
                reading.end_part()
            reading.begin()
            reading.take(provider_answer(made.answer.counts[place] or 1, seed))
        json.loads(reading.close())
    except GatewayError as error:
        return f"answer {error.info.status}"
    return "passed" if reading.usage.input >= 0 else "less than nothing"


@pytest.mark.parametrize("count", [600, pytest.param(3000, marks=pytest.mark.soak)])
def test_any_values_are_an_answer_or_a_providers_error(count):
    found: dict[str, int] = {outcome(number): number for number in range(count)}
    assert found.keys() == {"request 400", "answer 502", "passed"}, found


def provider_answer(count: int, seed: random.Random) -> bytes:
    """Return a provider's answer, which is right for some requests."""
    data = [{"embedding": [1.5], "index": index} for index in range(count)]
    by_type, values = {"float": [[1.5]] * count}, [{"values": [1]}] * count
    right = seed.choice(({"data": data, "embeddings": by_type}, {"embeddings": values}, {}))
    return json.dumps({**some(TOLD, seed), **right} if seed.random() < 0.9 else seed.choice(VALUES)).encode()
