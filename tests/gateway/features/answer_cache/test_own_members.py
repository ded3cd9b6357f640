"""Cached answers of Responses providers, which repeat request members: each client gets those of its own request."""

import json
from typing import Any

import pytest
import trio

from gateway.features.answer_cache.eligible import EXCLUDED
from gateway.features.answer_cache.own_members import REPEATED, OwnMembersBody
from providers.grammar import judge
from streams.sse import SSE
from streams.surrogates import any_json
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.flights import Body, cache_of
from tests.support.in_process import CountingProvider, gateway, providers

MINE = {"metadata": {"ticket": "1"}, "user": "ann", "safety_identifier": "s1", "prompt_cache_key": "k1"}
YOURS = {"metadata": {"ticket": "2"}, "user": "ben", "safety_identifier": "s2", "prompt_cache_key": "k2"}
EMPTY: dict[str, Any] = {"metadata": {}, "user": None, "safety_identifier": None, "prompt_cache_key": None}


class Repeating(CountingProvider):
    """A provider of Responses that repeats members of the request in its response, as OpenAI does."""

    def _answer(self, path: str, body: bytes) -> bytes:
        head, blank, data = super()._answer(path, body).partition(b"\r\n\r\n")
        request = json.loads(body)
        own = {name: request.get(name) or default for name, default in EMPTY.items()}

        def repeat(value: Any) -> bytes:
            holder = value.get("response", value)
            if "output" in holder:
                holder |= own
            return json.dumps(value).encode()

        if data.startswith(b"{"):
            data = repeat(json.loads(data))
        else:
            events = [(name, repeat(json.loads(text))) for name, text in SSE.parse_all(data)]
            data = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), text) for name, text in events)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        return b"\r\n".join([*lines, b"content-length: %d" % len(data)]) + blank + data


def settings(provider: CountingProvider) -> dict[str, Any]:
    entry = {"model": "openai/m", "name": "up", "access_key": "k", "base_url": f"{provider.url}/v1"}
    alias = {"target": "up", "cache": {"ttl": "1h"}}
    entries = [{**entry, "speaks": ["responses"]}]
    return {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"m": alias}}


def members_repeated_in(answer: Any) -> list[dict[str, Any]]:
    """Return the repeated members of each response object in an answer."""
    if answer.text.startswith("{"):
        found = [answer.json()]
    else:
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        found = [event["response"] for event in events if "response" in event]
    return [{name: one[name] for name in EMPTY} for one in found]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_hit_repeats_the_members_of_its_own_request(stream):
    async with providers(1) as (provider,):
        provider.__class__ = Repeating
        async with gateway(settings(provider)) as gate:
            for members, cached in ((MINE, "miss"), (YOURS, "hit"), ({}, "hit"), (MINE, "hit")):
                answer = await gate.ask("m", "responses", stream=stream, store=False, **members)
                assert (answer.status_code, answer.headers["x-trigate-cache"]) == (200, cached)
                found = members_repeated_in(answer)
                assert found == [EMPTY | members] * (3 if stream else 1)
                assert judge("responses", answer.content).broken is None
            assert provider.take_count() == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_other_form_of_a_cached_answer_repeats_them_too(stream):
    async with providers(1) as (provider,):
        provider.__class__ = Repeating
        async with gateway(settings(provider)) as gate:
            await gate.ask("m", "responses", stream=stream, store=False, **MINE)
            answer = await gate.ask("m", "responses", stream=not stream, store=False, **YOURS)
            assert answer.headers["x-trigate-cache"] == "hit"
            assert {one["metadata"]["ticket"] for one in members_repeated_in(answer)} == {"2"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_identical_requests_at_the_same_time_get_their_own_members(stream):
    async with providers(1) as (provider,):
        provider.__class__ = Repeating
        async with gateway(settings(provider)) as gate:
            found: dict[str, Any] = {}

            async def ask(members: dict[str, Any]) -> None:
                answer = await gate.ask("m", "responses", stream=stream, store=False, **members)
                found[members["user"]] = members_repeated_in(answer)

            with provider.hold_answers():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, MINE)
                    await eventually(lambda: len(provider.asked) == 1)
                    nursery.start_soon(ask, YOURS)
                    await eventually(lambda: any(one.followers for one in cache_of(gate.service).flights.values()))
                    provider._free.set()
            assert provider.take_count() == 1
            assert found == {"ann": [MINE] * len(found["ann"]), "ben": [YOURS] * len(found["ann"])}


# The bytes


async def read_all(body: OwnMembersBody) -> bytes:
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)


WHOLE = b'{"id": "r", "metadata": {"a": "b"}, "output": [{"metadata": 1}], "user": "x", "usage" : {"n": 1.50}}'
STREAM = (
    b": hi\n\nevent: response.created\ndata: {\"type\":\"response.created\",\"response\":" + WHOLE + b"}\n\n"
    b'event: x\ndata: {"type":"x","delta":"\\"response\\" metadata"}\n\ndata: [DONE]\n\ndata: {"response": 1}'
)  # fmt: skip


@each_row("step", [1, 7, 1000])
async def test_only_the_members_that_a_response_repeats_change(step):
    for text, framing in ((WHOLE, None), (STREAM, SSE)):
        pieces = [(0.0, text[at : at + step]) for at in range(0, len(text), step)]
        request = b'{"metadata": {"c": "\\u00e9"}, "user": null, "prompt_cache_key": "k"}'
        changed = await read_all(OwnMembersBody.of(Body(*pieces), request, framing, 2**20))
        own = b'{"id":"r","metadata":{"c": "\\u00e9"},"output":[{"metadata": 1}],"user":null,"usage":{"n": 1.50}}'
        assert changed == text.replace(WHOLE, own)


async def test_a_response_with_the_same_members_stays_unchanged_byte_for_byte():
    request = b'{"metadata":{"a":"b"},"user":"x"}'
    for text, framing in ((WHOLE, None), (STREAM, SSE)):
        assert await read_all(OwnMembersBody.of(Body((0.0, text)), request, framing, 2**20)) == text
    empty = b'{"metadata": null, "user":  "" }'
    assert await read_all(OwnMembersBody.of(Body((0.0, empty)), b"{}", None, 2**20)) == empty


THEIRS = b'{"metadata":{"ticket":"theirs"},"output":""}'
CUT = THEIRS.replace(b'""', rb'"\ud83d"')
OWN = {"ticket": "own"}


@each_row(
    ("text", "framing"),
    [
        (CUT, None),
        (THEIRS.replace(b"theirs", rb"theirs\ud83d"), None),
        (b'{"metadata":{"ticket":"theirs"},"\\ud83d":1}', None),
        (b'data: {"response":%b}\n\n' % CUT, SSE),
        (b'data: {"delta":"\\ud83d","response":%b}\n\n' % THEIRS, SSE),
        (b'event: e\ndata: {"response":\ndata: %b}\n\n' % THEIRS, SSE),
        (b'data: {\r\ndata: "response":%b\r\ndata: }\r\n\r\n' % THEIRS, SSE),
        (b'data:{"response":%b}\n\n' % THEIRS, SSE),
        (b'{"response":%b}\n\n' % THEIRS, SSE),
    ],
)
async def test_unusual_json_and_events_do_not_repeat_the_members_of_another_request(text, framing):
    """Half of a surrogate pair, and data of several lines."""
    body = OwnMembersBody.of(Body((0.0, text)), json.dumps({"metadata": OWN}).encode(), framing, 2**20)
    changed = await read_all(body)
    assert b"theirs" not in changed
    answer = any_json(changed) if framing is None else any_json(next(framing.parse_all(changed))[1])["response"]
    assert answer["metadata"] == OWN


@each_row("text", [b"", b"[]", b"x", b'{"error":{}}', b'{"metadata":', b"\xff"])
async def test_other_bodies_stay_unchanged(text):
    for framing in (None, SSE):
        body = OwnMembersBody.of(Body((0.0, text)), b'{"user":"u"}', framing, 2**20)
        assert await read_all(body) == text


def test_the_repeated_members_are_those_that_are_not_in_the_key():
    assert set(REPEATED) == set(EXCLUDED) - {"stream", "service_tier"}
