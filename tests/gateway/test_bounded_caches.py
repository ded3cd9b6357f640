"""No cache of a function keeps a text of a client: a name of a model or of a member may have megabytes.

The test uses such names everywhere, and then reads the keys of all caches of this project."""

import functools
import gc
import itertools
import json
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import trio
import trio.testing

from gateway.config_files.loading import from_mapping
from gateway.relay.endpoint_plans import endpoint_plan
from gateway.routing.router import Router
from providers.apis import CODECS
from providers.catalog.prices import price_of
from providers.catalog.prompt_caching import caching_row
from providers.endpoints.model_types import model_type
from providers.neutral.codec import Recipient
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.in_process import gateway, providers
from tests.support.sdk_fields import samples
from tests.support.settled_lines import SettledLines
from tests.support.unknown_members import with_members

LONG = "Long_name " * 600
LONGEST = 5_000
"""Characters of the longest text in a key."""


def texts_in(value: Any, depth: int = 4) -> Iterator[str | bytes]:
    """Yield the texts in the key of a cache."""
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, list | tuple | frozenset | dict) and depth:
        for one in value:
            yield from texts_in(one, depth - 1)


def long_keys() -> set[str]:
    """Return the names of the functions whose caches have long keys."""
    found = set()
    for one in gc.get_objects():
        if type(one) is functools._lru_cache_wrapper and one.__module__.startswith(("gateway", "providers", "streams")):
            keys = [key for inner in gc.get_referents(one) if isinstance(inner, dict) for key in inner]
            if any(len(text) > LONGEST for text in texts_in(keys)):
                found.add(f"{one.__module__}.{one.__qualname__}")
    return found


def test_a_long_key_is_found():
    @functools.lru_cache(4)
    def length(text: str) -> int:
        return len(text)

    length.__module__ = "gateway.somewhere"
    length(LONG)
    assert any(name.startswith("gateway.somewhere.") for name in long_keys())
    length.cache_clear()
    assert long_keys() == set()


def test_names_of_models():
    entries = [
        {"model": f"{provider}/*", "access_key": "k"} for provider in ("openai", "anthropic", "gemini", "mistral")
    ]
    router = Router(from_mapping({"version": "v0.4.0", "model_providers": entries}))
    for provider in ("openai", "anthropic", "gemini", "mistral"):
        model = f"{provider}/{LONG}"
        for api in CODECS:
            plan = router.plan(model, api)
            assert plan.first.recipient.model == LONG
            assert plan.first.price is None
        try:
            plan = endpoint_plan(router, model, "embeddings", frozenset(("openai",)))
        except GatewayError:
            continue
        assert plan.first.recipient is not None
        price_of(provider, LONG)
        caching_row(provider, LONG, "chat")
        model_type(LONG)
    assert long_keys() == set()


@each_row("api", CODECS)
def test_names_of_members(api):
    to = Recipient("m", Issuer("openai", "account"))
    for _, body in with_members(samples(api), LONG):
        for module in rows_of("steps", "gateway.features.steps.request_texts"):
            import_module(module).RequestTexts.of(api, json.dumps(body).encode())
        try:
            request = CODECS[api].read_request(body)
        except GatewayError:
            continue
        for provider in CODECS:
            try:
                CODECS[provider].write_request(request, to)
            except GatewayError:
                continue
    assert long_keys() == set()


# Objects that hold a name after the request


RUNNING: Final = (types.FrameType, types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


def holders() -> set[str]:
    """Return the types of the objects that hold a text with the mark."""
    found = set()
    for one in gc.get_objects():
        inner = [] if isinstance(one, RUNNING) else gc.get_referents(one)
        inner += [part for other in inner if not gc.is_tracked(other) for part in gc.get_referents(other)]
        if any(isinstance(text, str | bytes) and len(text) >= len(LONG) and _has_mark(text) for text in inner):
            found.add(type(one).__qualname__)
    return found


def mark() -> str:
    return "".join(("mark", "ed "))  # no constant of this module has it


def _has_mark(text: str | bytes) -> bool:
    return (mark() if isinstance(text, str) else mark().encode()) in text


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "user": "", "prompt_cache_key": ""},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "metadata": {"user_id": ""}},
    "/v1/responses": {"input": "hi", "safety_identifier": "", "prompt_cache_key": "", "metadata": {"a": ""}},
    "/v1/embeddings": {"input": "hi", "user": ""},
    "/v1/rerank": {"query": "hi", "documents": ["a"]},
    "/v1/moderations": {"input": "hi"},
}
"""Requests in which each empty text becomes a long one."""


async def test_a_gateway_holds_no_long_name_after_its_request():
    """The cache kept thousands of names, and 40 names of 3 MB took 240 MB."""
    async with providers(1) as (provider,):
        entry = {"model": "openai/*", "access_key": "k", "base_url": f"{provider.url}/v1", "price": "free"}
        async with gateway({"version": "v0.4.0", "model_providers": [entry]}) as served:
            lines = SettledLines(served)
            for path, provider.fails in itertools.product(BODIES, (None, 500)):
                await served.post(path, content=body_of(path), headers={"content-type": "application/json"})
                await lines.next()
            del lines
            provider.bodies.clear()
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            assert holders() <= {"FailureTexts"}, "the kept failures have a bound of their own"


def body_of(path: str) -> bytes:
    name = mark() + LONG
    body = json.dumps({"model": f"openai/{name}", name: 1, **BODIES[path]})
    return body.replace('""', json.dumps(name)).encode()
