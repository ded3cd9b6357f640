"""Tests of compaction to one item, of token counts before a request, and of references to items."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from providers.responses.tools import is_own_id
from tests.support.apis import OLDER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, complaint, config, provider
from tests.support.raw_call import check_log
from tests.support.responses_api import (
    both_ways,
    check_stream,
    each_api,
    entries,
    final,
    refusal,
    stored,
    text_of,
    turn,
)
from tests.support.upstreams import JSON, PATHS, Raw, Script, Seen, ToolCall, Upstream, fake_upstream, render

TRIGGER = {"type": "compaction_trigger"}
NOTES = "The word is xylophone; next: say it."
TOOL = {"type": "function", "name": "get_secret", "parameters": {"type": "object", "properties": {}}, "strict": False}
HISTORY = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Remember the word xylophone."},
    {"role": "assistant", "content": "I do."},
]
NONE = Raw(404, JSON, (b'{"error": {"message": "no such path", "type": "invalid_request_error"}}',))


class Provider:
    """A provider with scripted responses for the paths below its API's path."""

    def __init__(self, upstream: Upstream) -> None:
        self.seen: list[Seen] = []
        self.below: dict[str, Raw] = {}
        self.scripts: list[Script] = []
        upstream.answer = self.answer  # type: ignore[method-assign]

    def answer(self, seen: Seen) -> Raw:
        self.seen.append(seen)
        if (raw := self.below.get(seen.path)) is not None:
            return raw
        api = next((api for api, path in PATHS.items() if path == seen.path), None)
        return NONE if api is None else render(self.scripts.pop(0), api, seen.json)

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with fake_upstream() as found:
        yield found


@pytest.fixture
def theirs(up) -> Provider:
    return Provider(up)


@pytest.fixture(scope="module")
def gateway(up) -> Iterator[Gateway]:
    models = [*entries(up), provider("openai/native", up.url)]
    with gateway_thread(config(models)) as process:
        yield process
    check_log(process)


def compact(gateway: Gateway, model: str, input: Any = HISTORY, **more: Any) -> Reply:
    return gateway.request("POST", "/v1/responses/compact", {"model": model, "input": input, **more})


def the_item(output: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the only item, and check its id and its encrypted content: clients accept nothing else."""
    (item,) = output
    assert item["type"] == "compaction"
    assert item["id"]
    assert item["encrypted_content"]
    assert "xylophone" not in item["encrypted_content"]
    return item


def check_understood(gateway: Gateway, theirs: Provider, api: str, input: list[Any], **more: Any) -> None:
    """Check that the provider gets the notes instead of the history that they summarise."""
    theirs.scripts.append(Script(text="xylophone"))
    assert text_of(final(turn(gateway, f"on-{api}", input, **more))) == "xylophone"
    asked = theirs.seen[-1].body.decode()
    assert NOTES in asked
    assert "encrypted_content" not in asked
    assert "Say it now" in asked
    assert "Remember the word" not in asked


SUMMARY_PROMPT = {"role": "user", "content": "Say it now."}


# By a trigger in the input


@both_ways
@each_api
def test_a_trigger_is_answered_with_one_item_that_is_understood_later(gateway, theirs, api, stream):
    theirs.scripts = [Script(text=NOTES)]
    reply = turn(gateway, f"on-{api}", [*HISTORY, TRIGGER], stream=stream, tools=[TOOL])
    answer = final(reply)
    item = the_item(answer["output"])
    assert answer["status"] == "completed"
    if stream:
        done = [event["item"] for name, event in reply.events() if name == "response.output_item.done"]
        assert done == [item]
        assert not any("output_text" in name for name, _ in reply.events())
    asked = theirs.seen[0].json
    assert "xylophone" in json.dumps(asked)
    assert "compaction_trigger" not in json.dumps(asked)
    for other in OLDER:
        check_understood(gateway, theirs, other, [item, SUMMARY_PROMPT])


@both_ways
@each_api
def test_a_stored_conversation_continues_from_its_compaction(gateway, theirs, api, stream):
    theirs.scripts = [Script(text="I do."), Script(text=NOTES)]
    first = final(turn(gateway, f"on-{api}", HISTORY[:2]))["id"]
    second = final(turn(gateway, f"on-{api}", [TRIGGER], previous_response_id=first, stream=stream))
    item = the_item(second["output"])
    assert "xylophone" in theirs.seen[1].body.decode()
    assert stored(gateway, second["id"]).json["output"] == [item]
    check_understood(gateway, theirs, api, [SUMMARY_PROMPT], previous_response_id=second["id"])
    assert "Be brief." in theirs.seen[-1].body.decode()  # a summary never replaces instructions


@pytest.mark.parametrize(
    "script", [Script(text="half of", stop="length"), Script(calls=(ToolCall("c", "get_secret", "{}"),)), Script()],
    ids=["cut", "a call", "nothing"],
)  # fmt: skip
@both_ways
@each_api
def test_an_incomplete_summary_is_a_failure(gateway, theirs, api, stream, script):
    theirs.scripts = [script]
    reply = turn(gateway, f"on-{api}", [*HISTORY, TRIGGER], stream=stream, tools=[TOOL])
    if stream and reply.status == 200:
        check_stream(reply.body)
        assert reply.events()[-1][0] == "response.failed"
        assert "returned no summary" in reply.events()[-1][1]["response"]["error"]["message"]
    else:
        assert "returned no summary" in complaint("responses", reply, 502)["message"]


# By its own path


@each_api
def test_the_path_answers_in_its_own_shape(gateway, theirs, api):
    theirs.scripts = [Script(text=NOTES)]
    reply = compact(gateway, f"on-{api}")
    told = reply.json
    assert reply.status == 200, reply.body
    assert set(told) == {"id", "object", "created_at", "output", "usage"}
    assert (told["object"], is_own_id(told["id"])) == ("response.compaction", True)
    assert told["usage"]["total_tokens"] == 18
    check_understood(gateway, theirs, api, [the_item(told["output"]), SUMMARY_PROMPT])


@each_api
def test_the_path_compacts_a_stored_conversation(gateway, theirs, api):
    theirs.scripts = [Script(text="I do."), Script(text=NOTES)]
    first = final(turn(gateway, f"on-{api}", HISTORY[:2]))["id"]
    reply = compact(gateway, f"on-{api}", None, previous_response_id=first)
    assert reply.status == 200, reply.body
    assert "Remember the word" in theirs.seen[1].body.decode()
    check_understood(gateway, theirs, api, [the_item(reply.json["output"]), SUMMARY_PROMPT])


def test_the_sdk_reads_a_compaction(gateway, theirs):
    theirs.scripts = [Script(text=NOTES)]
    with openai.OpenAI(api_key="k", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        found = client.responses.compact(model="on-chat", input=HISTORY)  # type: ignore[arg-type]
    assert (found.object, found.output[0].type) == ("response.compaction", "compaction")
    assert found.usage.output_tokens == 7


def test_a_providers_own_compaction_passes(gateway, theirs):
    own = {
        "id": "resp_theirs", "object": "response.compaction", "created_at": 1,
        "output": [{"id": "cmp_1", "type": "compaction", "encrypted_content": "opaque"}], "usage": {},
    }  # fmt: skip
    theirs.below["/v1/responses/compact"] = Raw(200, JSON, (json.dumps(own).encode(),))
    body = b'{"model":"native", "input":"hi","previous_response_id": "resp_x"}'
    reply = gateway.request("POST", "/v1/responses/compact", body)
    assert (reply.status, reply.json, reply.headers["x-trigate-lane"]) == (200, own, "byte")
    assert theirs.seen[0].body == body
    theirs.scripts = [Script(text="ok")]
    input = [own["output"][0], SUMMARY_PROMPT]
    assert turn(gateway, "native", input).status == 200
    assert theirs.seen[-1].json["input"] == input


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_provider_without_compaction_gets_a_request_for_a_summary(gateway, theirs, status):
    theirs.below["/v1/responses/compact"] = Raw(status, JSON, (b"{}",))
    theirs.scripts = [Script(text=NOTES)]
    reply = compact(gateway, "native")
    assert theirs.paths == ["/v1/responses/compact", "/v1/responses"]
    the_item(reply.json["output"])


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_theirs"}, {"conversation": "conv_theirs"}])
def test_a_providers_conversation_is_never_summarised_without_it(gateway, theirs, more):
    """The client would replace its history by a summary of nothing."""
    no = {"error": {"message": "no such path", "type": "invalid_request_error", "param": None, "code": None}}
    theirs.below["/v1/responses/compact"] = Raw(404, JSON, (json.dumps(no).encode(),))
    assert complaint("responses", compact(gateway, "native", None, **more), 404)["message"] == "no such path"
    assert theirs.paths == ["/v1/responses/compact"]


def test_a_web_page_is_no_compaction(gateway, theirs):
    theirs.below["/v1/responses/compact"] = Raw(200, (("content-type", "text/html"),), (b"<!doctype html>",))
    assert "check that base_url" in complaint("responses", compact(gateway, "native"), 502)["message"]


def test_a_providers_refusal_to_compact_is_reported(gateway, theirs):
    no = {"error": {"message": "not so fast", "type": "rate_limit_error", "param": None, "code": "slow"}}
    theirs.below["/v1/responses/compact"] = Raw(429, (*JSON, ("retry-after", "7")), (json.dumps(no).encode(),))
    reply = compact(gateway, "native")
    assert complaint("responses", reply, 429)["message"] == "not so fast"
    assert (reply.headers["retry-after"], theirs.paths) == ("7", ["/v1/responses/compact"])


def test_a_trigger_passes_to_a_provider_that_stores_state(gateway, theirs):
    theirs.scripts = [Script(text="whatever it says")]
    assert turn(gateway, "native", [*HISTORY, TRIGGER]).status == 200
    assert theirs.seen[0].json["input"] == [*HISTORY, TRIGGER]


# Token counts before a request

COUNTED = Raw(200, JSON, (b'{"object": "response.input_tokens", "input_tokens": 4711}',))
COUNTS = {"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens"}


def count(gateway: Gateway, model: str, input: Any = "hi", **more: Any) -> Reply:
    reply = gateway.request("POST", "/v1/responses/input_tokens", {"model": model, "input": input, **more})
    assert reply.status == 200, reply.body
    assert set(reply.json) == {"object", "input_tokens"}
    assert reply.json["object"] == "response.input_tokens"
    return reply


@pytest.mark.parametrize("model", ["on-messages", "on-responses", "native"])
def test_the_providers_own_count_is_returned(gateway, theirs, model):
    path = COUNTS["messages" if model == "on-messages" else "responses"]
    theirs.below[path] = COUNTED
    reply = count(gateway, model, instructions="Be brief.", tools=[TOOL])
    assert reply.json["input_tokens"] == 4711
    assert "x-trigate-estimated" not in reply.headers
    assert theirs.paths == [path]
    asked = theirs.seen[0].body.decode()
    for word in ("hi", "Be brief.", "get_secret"):
        assert word in asked
    assert not {"store", "stream", "max_output_tokens"} & set(theirs.seen[0].json)


@each_api
def test_a_stored_conversation_is_counted_whole(gateway, theirs, api):
    theirs.scripts = [Script(text="I do. " + "word " * 500)]
    first = final(turn(gateway, f"on-{api}", HISTORY[:2]))["id"]
    reply = count(gateway, f"on-{api}", previous_response_id=first)
    assert reply.headers["x-trigate-estimated"] == "1"
    assert reply.json["input_tokens"] > 500
    if api in COUNTS:
        theirs.below[COUNTS[api]] = COUNTED
        theirs.seen.clear()
        assert count(gateway, f"on-{api}", previous_response_id=first).json["input_tokens"] == 4711
        asked = theirs.seen[0].body.decode()
        assert "Remember the word" in asked
        assert "tg1." not in asked
    before = stored(gateway, first, "/input_items").json
    assert before == stored(gateway, first, "/input_items").json  # counting adds nothing


def test_a_count_after_an_unknown_response_returns_400(gateway, theirs):
    asked = {"model": "on-chat", "input": "hi", "previous_response_id": "resp_nobodys"}
    error = refusal(gateway.request("POST", "/v1/responses/input_tokens", asked))
    assert error["code"] == "previous_response_not_found"
    assert theirs.seen == []


# References


@both_ways
@each_api
def test_references_between_calls_and_results_are_resolved(gateway, theirs, api, stream):
    """The Vercel AI SDK sends the second step so: the assistant's text by its id, its calls whole."""
    calls = (ToolCall("call_a", "get_secret", '{"key": "alpha"}'), ToolCall("call_b", "get_secret", '{"key": "beta"}'))
    theirs.scripts = [Script(text="I shall look.", calls=calls), Script(text="Both.")]
    begun = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Look up alpha and beta."}]},
    ]
    said, *called = final(turn(gateway, f"on-{api}", begun, tools=[TOOL], stream=stream))["output"]
    input = [
        *begun,
        {"type": "item_reference", "id": said["id"]},
        *({key: item[key] for key in ("type", "call_id", "name", "arguments")} for item in called),
        *({"type": "function_call_output", "call_id": item["call_id"], "output": "sesame"} for item in called),
    ]
    answer = final(turn(gateway, f"on-{api}", input, tools=[TOOL], tool_choice="auto", stream=stream))
    assert text_of(answer) == "Both."
    asked = theirs.seen[1].body.decode()
    assert "item_reference" not in asked
    assert asked.count("I shall look.") == 1
    assert asked.index("I shall look.") < asked.index("call_a") < asked.index("call_b") < asked.index("sesame")


@each_api
def test_a_reference_to_an_unknown_item_returns_400_with_its_id(gateway, theirs, api):
    input = [{"type": "item_reference", "id": "msg_nobodys"}, {"role": "user", "content": "hi"}]
    error = complaint("responses", turn(gateway, f"on-{api}", input), 400)
    assert error["param"] == "input"
    assert "'msg_nobodys'" in error["message"]
    assert theirs.seen == []


def test_a_reference_passes_to_a_provider_that_stores_its_items(gateway, theirs):
    theirs.scripts = [Script(text="ok")]
    input = [{"type": "item_reference", "id": "msg_theirs"}, {"role": "user", "content": "hi"}]
    assert turn(gateway, "native", input).status == 200
    assert theirs.seen[0].json["input"] == input
