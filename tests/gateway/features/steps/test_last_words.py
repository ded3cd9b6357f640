"""Providers that break off or stay silent after the last word of an answer that steps check: it is complete, too."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import attrs
import pytest

from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.last_words import SILENCES, SOON, WITHOUT_END, unfinished_stream
from tests.support.raw_call import line
from tests.support.step_gateway import bearer, client_keys, own_steps, step_gateway
from tests.support.step_providers import CODE, entries_of
from tests.support.upstreams import STREAM, Raw, Script, data, render
from tests.support.wire_clients import ALL, body_of, path_of, text_of

STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "mask-whole": {"action": "mask", "hold": "whole"},
    "refuse": {"action": "refuse"},
    "refuse-window": {"action": "refuse", "hold": 9},
    "refuse-late": {"action": "refuse", "hold": "nothing"},
    "report": {"action": "report"},
}


LAST: Final = {
    "chat": b"data: [DONE]", "messages": b"event: message_stop", "responses": b"event: response.completed",
    "gemini": b"finishReason", "converse": b"stopReason", "interactions": b"event: done",
}  # fmt: skip
"""A part of each API's last event, for which clients wait. Converse clients also accept an end without usage."""


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    aliases = {f"kept-{api}": {"target": f"on-{api}", **members_of("answer_cache", cache={"ttl": "1h"})} for api in ALL}
    settings = {
        "client_keys": client_keys(STEPS), "steps": own_steps(STEPS), "keep_alive": 0.05, "model_aliases": aliases,
    }  # fmt: skip
    with step_gateway(tmp_path_factory.mktemp("steps"), entries_of(upstream.url), CODE, **settings) as served:
        yield served


@each_row("end", SILENCES)
@each_row(("api", "has_end"), [*WITHOUT_END, *((api, None) for api in ALL)])
def test_an_answer_is_complete_after_its_last_word(gateway, upstream, api, has_end, end):
    """All clients ask at the same time, because a silence lasts for a while. Without ``has_end`` it is JSON."""
    whole = attrs.evolve(render(Script(text="The answer is 42."), api, {"model": "m"}), end=end)
    for spoken, stream in ((api, True), (ALL[ALL.index(api) - 1], True), (api, False)):
        answer = whole if has_end is None else unfinished_stream(api, end, has_end=has_end)
        upstream.script(*[answer] * len(STEPS))
        body, path = body_of(spoken, f"on-{api}", stream=stream), path_of(spoken, f"on-{api}", stream=stream)
        with ThreadPoolExecutor(len(STEPS)) as threads:
            replies = [*threads.map(partial(gateway.request, "POST", path, body), map(bearer, STEPS))]
        for client, reply in zip(STEPS, replies, strict=True):
            with case((client, spoken, stream)):
                assert (reply.status, reply.cut) == (200, False), reply.body
                assert text_of(spoken, reply.body, stream=stream) == "The answer is 42."
                assert not stream or bytes(reply.body).count(LAST[spoken]) == 1
                found = line(gateway, reply.headers["x-request-id"])
                outcome = (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON)
                assert outcome == ("complete", None, True)


@needs_feature("answer_cache")
@each_row("end", SILENCES)
@each_row(("api", "has_end"), WITHOUT_END)
def test_an_answer_that_the_cache_reads_is_complete_after_its_last_word(gateway, upstream, api, has_end, end):
    """Clients got 500 for answers that steps had held to their end."""
    clients = [name for name in STEPS if name != "refuse-late"]  # the cache still reads the rest of its answer
    upstream.script(*[unfinished_stream(api, end, has_end=has_end)] * len(clients))
    body, path = body_of(api, f"kept-{api}", end, stream=True), path_of(api, f"kept-{api}", stream=True)
    with ThreadPoolExecutor(len(clients)) as threads:
        replies = [*threads.map(partial(gateway.request, "POST", path, body), map(bearer, clients))]
    for client, reply in zip(clients, replies, strict=True):
        with case(client):
            assert (reply.status, reply.headers["x-trigate-cache"], reply.cut) == (200, "miss", False), reply.body
            assert text_of(api, reply.body, stream=True) == "The answer is 42."
            assert bytes(reply.body).count(LAST[api]) == 1
            found = line(gateway, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error")) == ("complete", None)


@each_row("client", STEPS)
@each_row("end", SILENCES)
@each_row("has_end", [True, False])
def test_an_answer_is_complete_after_the_last_words_of_all_choices(gateway, upstream, has_end, end, client):
    pieces = [
        data({"id": "c", "choices": [{"index": at, "delta": {"content": "fine"}, "finish_reason": "stop"}]})
        for at in range(2)
    ]
    upstream.script(Raw(200, STREAM, (*pieces, *((b"data: [DONE]\n\n",) if has_end else ())), end))
    body = {**body_of("chat", "on-chat", stream=True), "n": 2}
    reply = gateway.request("POST", path_of("chat", "on-chat", stream=True), body, bearer(client))
    assert reply.body.count(b"fine") == 2, reply.body
    found = line(gateway, reply.headers["x-request-id"])
    assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)


@each_row("client", [name for name in STEPS if name != "refuse-late"])
@each_row("end", ["cut", "reset"])
def test_text_that_a_step_may_not_pass_stays_held(gateway, upstream, end, client):
    """The last text is checked, although its provider has broken off."""
    upstream.script(unfinished_stream("gemini", end, has_end=True, text="falcon-77"))
    path, body = path_of("gemini", "on-gemini", stream=True), body_of("gemini", "on-gemini", stream=True)
    reply = gateway.request("POST", path, body, bearer(client))
    assert ("falcon-77" in text_of("gemini", reply.body, stream=True)) == (client == "report")


@each_row("client", STEPS)
def test_a_broken_frame_behind_the_first_words_is_an_error_of_the_provider(gateway, upstream, client):
    """The log reported a mistake of the gateway."""
    whole = unfinished_stream("converse", "chunked", has_end=True, text="The answer is 42. " * 20)
    broken = b"".join(whole.pieces[2:])[:-1] + b"?"
    upstream.script(attrs.evolve(whole, pieces=(*whole.pieces[:2], broken), interval=0.3))
    path, body = path_of("chat", "on-converse", stream=True), body_of("chat", "on-converse", stream=True)
    reply = gateway.request("POST", path, body, bearer(client))
    assert b"a frame with a wrong checksum" in reply.body
    found = line(gateway, reply.headers["x-request-id"])
    assert (found["ended"], found["error"]) == ("upstream_error", "upstream")
