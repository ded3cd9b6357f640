"""Answers that are invalid in their API: in another framing, without an end, or with wrong token counts."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs
import pytest

from streams.event_stream import event_frame
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.every_api import ask, entries_of_every_api
from tests.support.gateway_thread import serve_module
from tests.support.harness import config
from tests.support.lanes import half
from tests.support.last_words import SILENCES, SOON, WITHOUT_END, kind_of, unfinished_stream
from tests.support.odd_usage import ODD_USAGES, whole_with_usage
from tests.support.raw_call import line
from tests.support.upstreams import JSON, Raw, Script, render
from tests.support.wire_clients import ALL, text_of

PRICE: Final = {"input": 1, "output": 1000}


@serve_module
def gateway(upstream):
    return config(entries_of_every_api(upstream.url, price=PRICE))


# Another framing than the content type's

FRAMES, EVENTS = "application/vnd.amazon.eventstream", "text/event-stream"
FRAME = event_frame("messageStart", b'{"role":"assistant"}')
BODIES = {
    "events": b"data: [DONE]\n\n",
    "a frame with a wrong checksum": FRAME[:-1] + bytes([FRAME[-1] ^ 1]),
    "half a frame": FRAME[:-3],
    "a length of 4 GiB": b"\xff" * 64,
    "nothing but zeros": bytes(64),
}


def failures() -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield each API with each type in both lanes, streamed and whole, and by turns with each body."""
    kinds = (FRAMES, EVENTS, "application/json")
    names = itertools.cycle(BODIES)
    for (at, api), kind, lane, stream in itertools.product(enumerate(ALL), kinds, ("byte", "hub"), (False, True)):
        yield api, api if lane == "byte" else ALL[at - 1], next(names), kind, stream


@each_row(("api", "client", "name", "kind", "stream"), failures())
def test_a_body_in_another_framing_is_a_502(gateway, upstream, api, client, name, kind, stream):
    upstream.script(Raw(200, (("content-type", kind),), (BODIES[name],)))
    reply = ask(gateway, client, api, stream=stream)
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (502, "application/json")
    assert isinstance(json.loads(reply.body), dict)


# Providers that break off or stay silent after the last event: the client soon gets the end

ENDS: Final = {"chat": b"data: [DONE]\n\n", "messages": b'"message_stop"}\n\n'}
"""The ends of the events after which clients stop to read. Some wait for them."""


@serve_module
def pinging(upstream):
    """Run a gateway that sends keep-alives during each silence."""
    return config(entries_of_every_api(upstream.url), keep_alive=0.05)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("end", SILENCES)
@pytest.mark.parametrize(("api", "has_end"), WITHOUT_END)
def test_an_answer_is_complete_after_its_last_word(pinging, upstream, api, has_end, end, stream):
    """The provider sends a stream also if the client requests none. All clients ask at the same time, because a silence
    lasts for a while."""
    upstream.script(*[unfinished_stream(api, end, has_end=has_end)] * len(ALL))
    with ThreadPoolExecutor(len(ALL)) as threads:
        replies = [*threads.map(lambda client: ask(pinging, client, api, stream=stream), ALL)]
    for client, reply in zip(ALL, replies, strict=True):
        with case(client):
            assert (reply.status, reply.cut) == (200, False), reply.body
            assert text_of(client, reply.body, stream=stream) == "The answer is 42."
            if stream and client in ENDS:
                assert reply.body.endswith(ENDS[client])
                assert reply.body.count(ENDS[client]) == 1
            found = line(pinging, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)
            assert "tried" not in found, "an attempt has failed"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("end", SILENCES)
@pytest.mark.parametrize("api", ALL)
def test_a_json_answer_is_complete_after_its_last_brace(pinging, upstream, api, end, stream):
    """The provider sends JSON also if the client requests a stream."""
    for client in (api, ALL[ALL.index(api) - 1]):
        with case(client):
            whole = render(Script(text="The answer is 42."), api, {"model": "m"})
            upstream.script(attrs.evolve(whole, pieces=(*whole.pieces, b"\n"), end=end))
            reply = ask(pinging, client, api, stream=stream)
            assert (reply.status, reply.cut) == (200, False), reply.body
            assert text_of(client, reply.body, stream=stream) == "The answer is 42."
            found = line(pinging, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)
            upstream.script(attrs.evolve(whole, pieces=(b"".join(whole.pieces)[:-1],), end="cut"))
            found = line(pinging, ask(pinging, client, api, stream=stream).headers["x-request-id"])
            assert (found["ended"], found["error"]) == ("upstream_error", "upstream")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("end", ["hang", "chunked"])
@pytest.mark.parametrize("api", ALL)
def test_an_answer_with_a_wrong_content_type_is_complete(pinging, upstream, api, end, stream):
    """The provider labels JSON as a stream, or a stream as JSON."""
    whole = render(Script(text="The answer is 42."), api, {"model": "m"})
    labelled_stream = Raw(200, kind_of(api), whole.pieces, end)
    labelled_json = attrs.evolve(unfinished_stream(api, end, has_end=True), headers=JSON)
    for client, answer in itertools.product((api, ALL[ALL.index(api) - 1]), (labelled_stream, labelled_json)):
        with case((client, answer.headers)):
            upstream.script(answer)
            reply = ask(pinging, client, api, stream=stream)
            assert (reply.status, reply.cut) == (200, False), reply.body
            assert text_of(client, reply.body, stream=stream) == "The answer is 42."
            found = line(pinging, reply.headers["x-request-id"])
            assert (found["ended"], found.get("error"), found["duration_ms"] < 1000 * SOON) == ("complete", None, True)


@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest.mark.parametrize("api", ALL)
def test_an_answer_without_its_last_word_is_a_failure(pinging, upstream, api, end):
    upstream.script(Raw(200, kind_of(api), tuple(half(api)), end))
    found = line(pinging, ask(pinging, api, api, stream=True).headers["x-request-id"])
    assert (found["ended"], found["error"]) == ("upstream_error", "upstream")


# Token counts of a wrong type


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", ALL)
def test_the_text_is_delivered_and_its_cost_is_estimated(gateway, upstream, api, stream):
    """A translated one was a 502, one that passed unchanged a 200. A client of a stream gets it as one."""
    for client in ALL:
        for usage in ODD_USAGES:
            with case((client, usage)):
                upstream.script(whole_with_usage(api, usage))
                reply = ask(gateway, client, api, stream=stream)
                assert reply.status == 200, reply.body
                assert text_of(client, reply.body, stream=stream) == "The answer is 42."
                found = line(gateway, reply.headers["x-request-id"])
                assert (found["ended"], found["usage_estimated"], found["output_tokens"]) == ("complete", True, 5)
                assert (found["cost_usd"], found["cost_grade"]) == (pytest.approx(0.005, rel=0.1), "estimated")
