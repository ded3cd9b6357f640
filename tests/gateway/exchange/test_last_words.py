"""Providers that break off or stay silent after the last word of an answer: the client gets its end soon."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs
import pytest

from tests.support.cases import case
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.lanes import half
from tests.support.last_words import SILENCES, SOON, WITHOUT_END, kind_of, unfinished_stream
from tests.support.raw_call import line
from tests.support.upstreams import Raw, Script, render
from tests.support.wire_clients import ALL, body_of, path_of, text_of

VENDORS: Final = {"chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini",
                  "converse": "amazon_bedrock", "interactions": "gemini"}  # fmt: skip
KEEP_ALIVE: Final = 0.05
ENDS: Final = {"chat": b"data: [DONE]\n\n", "messages": b'"message_stop"}\n\n'}
"""The ends of the events after which clients stop to read. Some wait for them."""


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"{VENDORS[api]}/up-{api}", upstream.url, [api], name=f"m-{api}") for api in ALL]
    with gateway_thread(config(entries, keep_alive=KEEP_ALIVE)) as served:
        yield served


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("end", SILENCES)
@pytest.mark.parametrize(("api", "has_end"), WITHOUT_END)
def test_an_answer_is_complete_after_its_last_word(gateway, upstream, api, has_end, end, stream):
    """The provider sends a stream also if the client requests none. All clients ask at the same time, because a silence
    lasts for a while."""

    def ask(client: str) -> Reply:
        body = body_of(client, f"m-{api}", stream=stream)
        return gateway.request("POST", path_of(client, f"m-{api}", stream=stream), body)

    upstream.script(*[unfinished_stream(api, end, has_end=has_end)] * len(ALL))
    with ThreadPoolExecutor(len(ALL)) as threads:
        replies = [*threads.map(ask, ALL)]
    for client, reply in zip(ALL, replies, strict=True):
        with case(client):
            assert (reply.status, reply.cut) == (200, False), reply.body
            assert text_of(client, reply.body, stream=stream) == "The answer is 42."
            if stream and client in ENDS:
                assert reply.body.endswith(ENDS[client])
                assert reply.body.count(ENDS[client]) == 1
            found = line(gateway, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)


@pytest.mark.parametrize("end", SILENCES)
@pytest.mark.parametrize("api", ALL)
def test_a_json_answer_is_complete_after_its_last_brace(gateway, upstream, api, end):
    for client in (api, ALL[ALL.index(api) - 1]):
        with case(client):
            whole = render(Script(text="The answer is 42."), api, {"model": "m"})
            upstream.script(attrs.evolve(whole, pieces=(*whole.pieces, b"\n"), end=end))
            path, body = path_of(client, f"m-{api}", stream=False), body_of(client, f"m-{api}", stream=False)
            reply = gateway.request("POST", path, body)
            assert reply.status == 200, reply.body
            assert text_of(client, reply.body, stream=False) == "The answer is 42."
            found = line(gateway, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)
            upstream.script(attrs.evolve(whole, pieces=(b"".join(whole.pieces)[:-1],), end="cut"))
            assert gateway.request("POST", path, body).status == 502


@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest.mark.parametrize("api", ALL)
def test_an_answer_without_its_last_word_is_a_failure(gateway, upstream, api, end):
    upstream.script(Raw(200, kind_of(api), tuple(half(api)), end))
    reply = gateway.request("POST", path_of(api, f"m-{api}", stream=True), body_of(api, f"m-{api}", stream=True))
    found = line(gateway, reply.headers["x-request-id"])
    assert (found["ended"], found["error"]) == ("upstream_error", "upstream")
