"""The requests of the load tester, and its reading of the responses."""

import itertools
import random

import attrs
import msgspec
import pytest

from configfile.wording import Wrong
from loadtest.exchange.content import EventReader, error_message, read_answer
from loadtest.plan.plan import Lengths, LoadPlan
from loadtest.requests import MARK, FileBodies, MadePrompts, request_head, request_path
from providers.apis import CODECS, api_of_path
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.events import AnswerEnd, AnswerStart, BlockEnd, ErrorInfo, TextDelta, Usage
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row


def plan(**more):
    return LoadPlan(targets={"": "http://h"}, **{"model": "m", **more})


@each_row("api", CODECS)
def test_each_body_is_a_valid_request_of_the_planned_size(api):
    source = MadePrompts(plan(api=api, stream=api != "chat", output=Lengths(77, 77)))
    call = CODECS[api].read_request(msgspec.json.decode(source.prepare(0, random.Random(1)).body))
    if CODECS[api].wire.model_member is not None:
        assert (call.model, call.stream) == ("m", api != "chat")
    assert call.parameters["max_tokens"].value == 77
    (part,) = call.messages[-1].parts
    assert len(part.text.split()) == 20 - MARK + 1


def test_prompts_begin_differently_and_have_the_planned_length():
    """A common word with its space is one token of all common models."""
    source, rng = MadePrompts(plan(prompt=Lengths(1000, 1000))), random.Random(1)
    first, second = (
        msgspec.json.decode(source.prepare(number, rng).body)["messages"][0]["content"] for number in range(2)
    )
    assert len(first.split()) == len(second.split()) == 1000 - MARK + 1
    assert first[:6] != second[:6]
    assert (
        MadePrompts(plan()).prepare(0, random.Random(1)).body != MadePrompts(plan()).prepare(0, random.Random(1)).body
    )


def test_bodies_from_a_file_are_sent_in_order_with_the_planned_model(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text('{"model": "a", "messages": [], "stream": true, "x": 1.50}\n\n{"messages": [1]}\n')
    source = FileBodies(plan(requests=file))
    found = [source.prepare(number, random.Random(1)) for number in range(3)]
    assert [one.stream for one in found] == [True, False, True]
    assert found[0].body == found[2].body == b'{"model":"m","messages":[],"stream":true,"x":1.50}'
    assert msgspec.json.decode(found[1].body) == {"messages": [1], "model": "m"}


@each_row(
    ("content", "said"),
    [
        ("[]", "line 1: this is not a JSON object"),
        ('{"messages": [], "model": "m"}\n{"messages"', "line 2: this is not JSON"),
        ('{"input": "x"}', "messages is missing"),
        ('{"messages": []}', "the model is missing"),
        ("\n", "has no bodies"),
    ],
)
def test_an_invalid_file_is_rejected_with_the_line_number(content, said, tmp_path):
    (tmp_path / "own.jsonl").write_text(content)
    with pytest.raises(Wrong, match=said):
        FileBodies(plan(requests=tmp_path / "own.jsonl", model=""))


def test_the_missing_part_of_the_path_is_added():
    for url, path in [
        ("http://h:1", "/v1/messages"),
        ("http://h/v1/", "/v1/messages"),
        ("http://h/api/v1beta", "/api/v1beta/messages"),
        ("http://h/anthropic", "/anthropic/v1/messages"),
        ("http://h/x/messages", "/x/messages"),
        ("http://h/v1?a=b", "/v1/messages?a=b"),
    ]:
        with case((url, path)):
            assert request_path(url, "messages", "m", stream=True) == path


def test_a_path_may_contain_the_model():
    for api, stream, url, path in [
        ("gemini", True, "http://h", "/v1beta/models/a%20b/c:streamGenerateContent?alt=sse"),
        ("gemini", False, "http://h/v1", "/v1/models/a%20b/c:generateContent"),
        ("gemini", True, "http://h/v1beta/models/a%20b/c:generateContent",
         "/v1beta/models/a%20b/c:streamGenerateContent?alt=sse"),
        ("gemini", True, "http://h/v1beta/models/a%20b/c:streamGenerateContent?alt=sse",
         "/v1beta/models/a%20b/c:streamGenerateContent?alt=sse"),
        ("converse", False, "http://h/model/a%20b/c/converse-stream", "/model/a%20b/c/converse"),
        ("converse", True, "http://h/", "/model/a%20b/c/converse-stream"),
        ("converse", False, "http://h?x=1", "/model/a%20b/c/converse?x=1"),
    ]:  # fmt: skip
        with case((api, stream, url, path)):
            assert request_path(url, api, "a b/c", stream=stream) == path


@each_row("api", CODECS)
def test_streams_of_every_api_are_understood(api):
    """The reader finds the same content, token counts and failures that the codec wrote."""
    events = [AnswerStart("id", "m"), *(TextDelta(0, word) for word in ("one ", "two")), BlockEnd(0)]
    body = msgspec.json.decode(MadePrompts(plan(api=api)).prepare(0, random.Random(1)).body)
    call = attrs.evolve(CODECS[api].read_request(body), model="m", stream=True)
    for ends, tokens, message in (
        ((Usage(input=3, output=5), AnswerEnd("stop")), 5, ""),
        ((ErrorInfo("overloaded", "no room"),), None, "no room"),
    ):
        writer = CODECS[api].writer(Reply(call, Issuer("", ""), 1, 1))
        stream = b"".join(writer.send(event) for event in (*events, *ends))
        found = read_answer(api, stream, streamed=True)
        assert len(found.contents) == 2
        assert found.detail == message
        if not message:
            assert found.tokens.output == tokens


def test_reasoning_is_content():
    first = b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": "x"}}]}\n\n'
    then = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
    assert read_answer("chat", first + then, streamed=True).contents == (0, 1)


def test_a_full_url_determines_the_api():
    assert api_of_path("http://h/v1/responses") == "responses"
    assert api_of_path("http://h/v1beta/models/gemini-3:streamGenerateContent?alt=sse") == "gemini"
    assert api_of_path("http://h/model/m/converse-stream") == "converse"
    assert api_of_path("http://h/v1") is None


def test_the_head_has_the_host_and_the_key_where_the_api_has_it():
    assert request_head("http://h:80/v1", "chat", "/v1/x?y", None).split(b"\r\n") == [
        b"POST /v1/x?y HTTP/1.1", b"host: h", b"accept-encoding: identity", b"content-type: application/json",
        b"user-agent: trigate-load", b"content-length: "
    ]  # fmt: skip
    for url, api, line in [
        ("https://[::1]:8443", "messages", b"host: [::1]:8443"),
        ("https://h", "messages", b"x-api-key: k"),
        ("https://h", "responses", b"authorization: Bearer k"),
    ]:
        assert line in request_head(url, api, "/", "k").split(b"\r\n")


@each_row(("raw", "api"), itertools.product([b": ping\n\n", b"data: {\n\n", b"\n\n", b"data: \xff\n\n"], OLDER))
def test_events_without_content_read_as_nothing(raw, api):
    found, is_end = EventReader(api).read(raw)
    assert not is_end
    assert not any(isinstance(one, TextDelta) for one in found)


def test_an_error_body_is_reported_in_one_line():
    for body, said in [
        (b'{"error": {"message": "too\\n many"}}', "too many"),
        (b'{"error": "no model"}', "no model"),
        (b"<p>Bad\n gateway", "<p>Bad gateway"),
        (b"", ""),
    ]:
        with case((body, said)):
            assert error_message(body) == said
