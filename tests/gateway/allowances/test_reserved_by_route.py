"""Budgets reserve what the provider receives, for every route that runs a model.

A recording provider holds its response while the test compares the bytes it received with the reservation. Each request
has members that its provider ignores or reads differently, and that would reserve less (BerriAI/litellm#40002). A
client that leaves before the response pays for the sent request: providers bill it (QuantumNous/new-api#5235)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import trio

from gateway.endpoints.inference import ROUTES as CONVERSATIONS
from providers.endpoints.endpoint import EndpointName
from tests.support.asgi_app import eventually
from tests.support.audio_files import wav
from tests.support.cases import case
from tests.support.endpoint_provider import ReceivedRequest, before
from tests.support.features import has_feature, needs_feature
from tests.support.multipart import multipart, part
from tests.support.relay_rows import PLAIN_JSON_ENDPOINTS, ROUTES, RelayRoute
from tests.support.reserved import (
    CLIENTS,
    HEAD,
    LIMITED,
    LIMITED_CLIENTS,
    UNITS,
    Body,
    Expected,
    HeldProvider,
    Levels,
    Oracle,
    Sent,
    compare,
)

# Conversations

APIS: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")
DECOYS: Final = {"max_completion_tokens": 1, "max_output_tokens": 2, "maxOutputTokens": 3, "maxTokens": 4}
_SAID: Final = [{"role": "user", "content": "Hello."}]
BODIES: Final[Mapping[str, Body]] = {
    "chat": {**DECOYS, "model": "mine", "messages": _SAID, "max_tokens": 5000},
    "messages": {**DECOYS, "model": "mine", "messages": _SAID, "max_tokens": 5000},
    "responses": {"max_tokens": 1, "max_completion_tokens": 1, "model": "mine", "input": "Hello.",
                  "max_output_tokens": 5000},
    "gemini": {"max_tokens": 1, "maxOutputTokens": 1, "contents": [{"role": "user", "parts": [{"text": "Hello."}]}],
               "generationConfig": {"maxOutputTokens": 5000, "max_output_tokens": 1}},
    "converse": {"max_tokens": 1, "maxTokens": 1, "messages": [{"role": "user", "content": [{"text": "Hello."}]}],
                 "inferenceConfig": {"maxTokens": 4}, "additionalModelRequestFields": {"max_tokens": 5000}},
    "interactions": {"max_tokens": 1, "max_output_tokens": 1, "model": "mine", "input": "Hello.",
                     "generation_config": {"max_output_tokens": 5000, "maxOutputTokens": 1}},
}  # fmt: skip
WITHIN: Final = {
    "gemini": ("generationConfig",), "converse": ("inferenceConfig", "additionalModelRequestFields"),
    "interactions": ("generation_config",),
}  # fmt: skip
NAMES: Final = {
    "chat": ("max_tokens", "max_completion_tokens"), "messages": ("max_tokens",), "responses": ("max_output_tokens",),
    "gemini": ("maxOutputTokens", "max_output_tokens"), "converse": ("maxTokens", "max_tokens"),
    "interactions": ("max_output_tokens",),
}  # fmt: skip


def allowed_by(api: str) -> Oracle:
    """Return a function that returns what a request to a provider with ``api`` allows."""

    def read(received: ReceivedRequest) -> Expected:
        body = received.json
        places = [body.get(name, {}) for name in WITHIN[api]] if api in WITHIN else [body]
        limits = [int(place[name]) for place in places for name in NAMES[api] if name in place]
        return Expected(max(limits) * int(body.get("n", 1)))

    return read


def path_of(api: str) -> str:
    return next(path for path, one in CONVERSATIONS.items() if one == api).replace("{model}", "mine")


def entry_for(api: str) -> tuple[str, dict[str, Any]]:
    """Return the model of an entry whose provider has ``api``, and the rest of the entry."""
    row = {"gemini": "gemini", "converse": "amazon_bedrock", "interactions": "gemini"}.get(api, "vllm")
    return f"{row}/m-1", {"name": "mine", "speaks": [api], "price": {"per": UNITS}}


def conversations() -> Iterator[tuple[str, Sent]]:
    """Yield each request with the API of the provider for it."""
    for client in APIS:
        for provider in APIS:
            body = BODIES[client]
            yield provider, Sent(path_of(client), allowed_by(provider), body, label=f"{client} to {provider}")
    answers = {**BODIES["chat"], "n": 8.0}
    yield "chat", Sent(path_of("chat"), allowed_by("chat"), answers, label="several answers")


# Other endpoints


def by_size(received: ReceivedRequest) -> Expected:
    return Expected()


def of_completion(received: ReceivedRequest) -> Expected:
    body = received.json
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    return Expected(body["max_tokens"] * len(prompts) * int(body.get("best_of", 1)))


def of_speech(received: ReceivedRequest) -> Expected:
    return Expected(units={"character": len(received.json["input"])})


def of_pictures(received: ReceivedRequest) -> Expected:
    return Expected(units={"image": int(received.json["n"])})


def of_texts(received: ReceivedRequest) -> Expected:
    return Expected(input=100)


def of_search(received: ReceivedRequest) -> Expected:
    return Expected(units={"search": -(-len(received.json["documents"]) // 100)})


def of_film(received: ReceivedRequest) -> Expected:
    return Expected(units={"second": int(received.json["seconds"])})


def of_pages(received: ReceivedRequest) -> Expected:
    return Expected(units={"page": len(received.json["pages"])})


LONG_TEXT: Final = "x" * 398  # a hundred tokens with its quotes
_TEXT: Final = {"model": "mine", "input": "Hello.", "max_tokens": 5000}
REQUESTS: Final[Mapping[EndpointName, tuple[Body, Oracle]]] = {
    "completions": ({"model": "mine", "prompt": ["a", "b"], "max_tokens": 9, "max_completion_tokens": 1, "n": 1,
                     "best_of": 3.0}, of_completion),
    "fim": ({"model": "mine", "prompt": "a", "suffix": "b", "max_tokens": 9, "max_completion_tokens": 1},
            of_completion),
    "embeddings": ({"model": "mine", "input": LONG_TEXT}, of_texts),
    "rerank": ({"model": "mine", "query": "a", "documents": ["b"] * 250}, of_search),
    "ocr": ({"model": "mine", "document": {"type": "document_url", "document_url": "https://x"}, "pages": [0, 1, 2]},
            of_pages),
    "speech": ({"model": "mine", "input": "Hello." * 9, "voice": "a"}, of_speech),
    "image_generations": ({"model": "mine", "prompt": "A cat", "n": 8.0}, of_pictures),
    "videos": ({"model": "mine", "prompt": "A cat", "seconds": "8"}, of_film),
    **dict.fromkeys((*PLAIN_JSON_ENDPOINTS[:-1], "search"), (_TEXT, by_size)),
}  # fmt: skip
"""A request to each endpoint with JSON, and what it may cost."""

_PARTS: Final = {"content": {"parts": [{"text": LONG_TEXT}]}}
EMBEDDED: Final[Mapping[str, Body]] = {
    "embed": {"model": "mine", "texts": [LONG_TEXT], "input_type": "search_query"},
    "embedContent": _PARTS,
    "batchEmbedContents": {"requests": [_PARTS]},
}
"""Requests for embeddings in other forms than OpenAI's, by the end of their path."""


def form_for(*fields: tuple[str, bytes], file: bytes = b"\x89PNG") -> bytes:
    """Return a form with ``fields`` after its file."""
    parts = [part("model", b"mine"), part("file", file, "a"), *(part(name, value) for name, value in fields)]
    return multipart(parts)


SECONDS: Final = 90
FORMS: Final[Mapping[EndpointName, tuple[bytes, Expected]]] = {
    "image_edits": (form_for(("n", b"7")), Expected(units={"image": 7}, input=1)),
    "image_variations": (form_for(("n", b"7")), Expected(units={"image": 7}, input=1)),
    "transcriptions": (form_for(file=wav(SECONDS)), Expected(units={"second": SECONDS}, input=1)),
    "translations": (form_for(file=wav(SECONDS)), Expected(units={"second": SECONDS}, input=1)),
}
"""A form for each endpoint with files, and what it may cost."""

OTHERS: Final[Mapping[EndpointName, str]] = {
    "files": "stored objects run no model",
    "uploads": "stored objects run no model",
    "vector_stores": "providers bill them by the day",
    "containers": "providers bill them by the session",
    "batches": "they reserve by their lines: tests/gateway/features/files/test_batches.py",
    "message_batches": "they reserve by their lines: tests/gateway/features/files/test_batches.py",
    "realtime": "sessions reserve for each response: tests/gateway/features/realtime",
    "realtime_translations": "sessions reserve for their output: tests/gateway/features/realtime",
    "content_provenance_checks": "OpenAI checks files free of charge",
}
"""Endpoints whose requests run no model themselves, with the reason."""


def request_to(route: RelayRoute) -> Sent:
    """Return the request to ``route``."""
    path = route.path.replace("{model}", "mine")
    if route.endpoint in FORMS:
        form, expected = FORMS[route.endpoint]
        return Sent(path, lambda received: expected, form=form, label=path)
    body, oracle = REQUESTS[route.endpoint]
    body = EMBEDDED.get(route.path.rpartition("/")[2].rpartition(":")[2], body) if oracle is of_texts else body
    return Sent(path, oracle, body, label=path)


SERVED: Final = {route.endpoint for route in ROUTES}


def test_every_route_has_a_row():
    """A new route needs a row: a request and what its bytes may cost, or the reason why it runs no model."""
    known = {*REQUESTS, *FORMS, *OTHERS}
    assert known >= SERVED
    assert known == SERVED or not all(map(has_feature, ("files", "other_endpoints", "realtime")))
    assert set(CONVERSATIONS.values()) == set(APIS)


TURNS: Final = [0, pytest.param(1, marks=pytest.mark.soak)]
"""In each turn, every second client leaves. Both turns have each request with each end."""


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("api", APIS)
async def test_conversations_reserve_what_their_provider_receives(api, turn):
    (model, entry), held = entry_for(api), HeldProvider()
    async with before(held, model, entry, **LIMITED_CLIENTS) as (served, provider):
        for number, sent in enumerate(sent for provider_api, sent in conversations() if provider_api == api):
            with case(sent.label):
                await compare(served, provider, held, sent, CLIENTS[number], leaves=number % 2 == turn)


@pytest.mark.parametrize("turn", TURNS)
async def test_endpoints_reserve_what_their_provider_receives(turn):
    entry = {
        "name": "mine",
        "price": {"per": UNITS},
        "endpoints": dict.fromkeys((*PLAIN_JSON_ENDPOINTS, "search"), "/x"),
    }
    held = HeldProvider()
    routes = [
        one for one in ROUTES
        if one.endpoint not in OTHERS and one.method == "POST" and "{id}" not in one.path
    ]  # fmt: skip
    assert {one.endpoint for one in routes} == {*REQUESTS, *FORMS} & SERVED
    async with before(held, "trigate/m-1", entry, **LIMITED_CLIENTS) as (served, provider):
        for number, route in enumerate(routes):
            # The gateway reads a new video's id, even if the client leaves.
            leaves = number % 2 == turn and route.endpoint != "videos"
            with case(route.path):
                await compare(served, provider, held, request_to(route), CLIENTS[number], leaves=leaves)


PASSED: Final = {
    "chat/completions": (BODIES["chat"], "chat"),
    "messages": (BODIES["messages"], "messages"),
    "responses": (BODIES["responses"], "responses"),
}


@needs_feature("pass_through")
@pytest.mark.parametrize(
    "leaves", [pytest.param(False, id="is rejected"), pytest.param(True, id="leaves", marks=pytest.mark.soak)]
)
async def test_pass_through_reserves_what_its_provider_receives(leaves):
    entry, held = {"name": "mine", "passthrough": True, "price": {"per": UNITS}}, HeldProvider()
    async with before(held, "vllm/m-1", entry, **LIMITED_CLIENTS) as (served, provider):
        for client, sent in zip(CLIENTS, passed_requests(), strict=False):
            with case(sent.path):
                await compare(served, provider, held, sent, client, leaves=leaves)


def passed_requests() -> Iterator[Sent]:
    for rest, (body, api) in PASSED.items():
        yield Sent(f"/mine/{rest}", allowed_by(api), body)
    for endpoint, (body, oracle) in REQUESTS.items():
        if endpoint in SERVED - {"fim", "embeddings"}:
            yield Sent(passed_path(endpoint), oracle, body)
    for endpoint, (form, expected) in FORMS.items():
        if endpoint in SERVED:
            oracle = lambda received, expected=expected: expected  # noqa: E731
            yield Sent(passed_path(endpoint), oracle, form=form)


def passed_path(endpoint: str) -> str:
    path = next(route.path for route in ROUTES if route.endpoint == endpoint)
    return f"/mine{path.removeprefix('/v1')}"


@needs_feature("pass_through")
async def test_unknown_paths_reserve_the_longest_answer():
    """A limit by a name that the path's API does not have may be ignored."""
    entry = {"name": "mine", "passthrough": True, "price": {"per": UNITS}}
    held = HeldProvider()
    async with before(held, "vllm/m-1", entry, **LIMITED) as (served, provider):
        expected = Expected(128_000)
        sent = Sent("/mine/api/generate", lambda received: expected, {"prompt": "Hi", "max_tokens": 1})
        await compare(served, provider, held, sent, leaves=False)


DEAR, CHEAP = "gpt-4.1", "gpt-4.1-nano"


@needs_feature("pass_through")
@pytest.mark.parametrize(
    ("rest", "body"),
    [
        ("chat/completions?model={cheap}", {"model": DEAR}),
        ("chat/completions?model={dear}", {"model": CHEAP}),
        ("openai/deployments/{dear}/chat/completions", {"model": CHEAP}),
        ("chat/completions", {"model": CHEAP, "deployment": DEAR}),
    ],
)
async def test_the_dearest_of_several_models_determines_the_reservation(rest, body):
    """Servers differ in whether a path, a query or a body selects the model."""
    said = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
    reserved = []
    for target, sent in ((rest, {**body, **said}), ("chat/completions", {"model": DEAR, **said})):
        held = HeldProvider()
        async with (
            before(held, "openai/*", {"name": "mine", "passthrough": True}, **LIMITED) as (served, provider),
            trio.open_nursery() as nursery,
        ):
            path = "/mine/" + target.format(dear=DEAR, cheap=CHEAP)
            nursery.start_soon(lambda: served.post(path, json=sent, headers=HEAD))  # noqa: B023
            await eventually(lambda: len(provider.asked) == 1)
            reserved.append(Levels(served).held_amounts["usd"])
            held.released.set()
    first, second = reserved
    assert 0.9 * second < first < 1.1 * second
