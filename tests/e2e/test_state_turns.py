"""Single turns of the Responses API that trigate keeps: whom they reach, what is left where they do not end well."""

import re
from collections.abc import Iterator

import openai
import pytest
from openai.types.responses import Response

from tests.support.apis import OLDER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, eventually, provider
from tests.support.responses_api import both_ways, each_api
from tests.support.sdk_conversation import TURNS, Talk, as_heard, conversation_in, settings
from tests.support.upstreams import STREAM, Raw, Script, render


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    asked = settings(upstream)
    asked["model_providers"].append(provider("attic/on-attic", f"{upstream.url}/v1", ["responses"]))
    with gateway_thread(asked) as process:
        yield process


@both_ways
@each_api
def test_another_model_hears_all_but_what_was_thought_elsewhere(sdk, upstream, api, stream):
    """And the first one gets its own thoughts back, with what it has sealed them."""
    others = [other for other in OLDER if other != api]
    models = [api, *others, api, api]
    upstream.script(*(turn.answer for turn in TURNS))
    talk = Talk(sdk, stream)
    previous, said = None, []
    for i, (model, turn) in enumerate(zip(models, TURNS, strict=True)):
        previous = talk.ask(model, turn.input, previous_response_id=previous, **turn.more).id
        said += [(model, line) for line in turn.asked]
        hears = [line for maker, line in said if maker == model or line[0] != "thinking"]
        assert conversation_in(upstream.seen[i]) == [*turn.system, *as_heard(model, hears)]
        said += [(model, line) for line in turn.conversation_in]


@both_ways
def test_sealed_reasoning_is_not_sent_to_another_provider_of_the_same_api(sdk, upstream, stream):
    upstream.script(Script("A", "", "c2VhbA=="), Script("B"), Script("C"))
    talk = Talk(sdk, stream)
    first = talk.ask("responses", "a", reasoning={"effort": "low"})
    second = talk.ask("attic", "b", previous_response_id=first.id)
    talk.ask("responses", "c", previous_response_id=second.id)
    said = [("user", "a"), ("thinking", "", "c2VhbA=="), ("text", "A"), ("user", "b"), ("text", "B"), ("user", "c")]
    assert [conversation_in(seen) for seen in upstream.seen] == [said[:1], [said[0], *said[2:4]], said]


@both_ways
def test_one_response_can_be_gone_on_from_twice(sdk, upstream, stream):
    upstream.script(*(Script(text=text) for text in ("A", "B", "C")))
    talk = Talk(sdk, stream)
    first = talk.ask("chat", "a")
    for i, word in enumerate("bc", 1):
        talk.ask("chat", word, previous_response_id=first.id)
        assert conversation_in(upstream.seen[i]) == [("user", "a"), ("text", "A"), ("user", word)]


@both_ways
@each_api
def test_a_turn_with_store_false_cannot_be_retrieved(sdk, upstream, api, stream):
    upstream.script(Script(text="A"))
    response = Talk(sdk, stream).ask(api, "a", store=False)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(response.id)
    refused_to_go_on(sdk, response.id, stream)


def refused_to_go_on(sdk: openai.OpenAI, id: str, stream: bool = False) -> str:
    with pytest.raises(openai.BadRequestError) as caught:
        Talk(sdk, stream).ask("chat", "go on", previous_response_id=id)
    error = caught.value
    assert (error.code, error.param) == ("previous_response_not_found", "previous_response_id")
    return error.message


# Turns that did not end well


@each_api
def test_a_turn_that_was_cut_at_the_limit_continues_without_its_open_calls(sdk, upstream, api):
    first = Script(text="A long", calls=TURNS[0].answer.calls, stop="length")
    upstream.script(first, Script(text="way."))
    cut = Talk(sdk, True).ask(api, "Tell.", max_output_tokens=20)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert sdk.responses.retrieve(cut.id) == cut
    assert Talk(sdk, True).ask(api, "Go on.", previous_response_id=cut.id).status == "completed"
    assert conversation_in(upstream.seen[1]) == [("user", "Tell."), ("text", "A long"), ("user", "Go on.")]


@each_api
def test_a_provider_that_dies_in_mid_answer_leaves_a_failed_turn(sdk, upstream, api):
    upstream.script(broken(api, "cut"))
    events = list(sdk.responses.create(model=f"on-{api}", input="Tell.", stream=True))
    failed = events[-1].response
    assert (events[-1].type, failed.id) == ("response.failed", events[0].response.id)
    stored = sdk.responses.retrieve(failed.id)
    assert (stored.status, stored.error) == ("failed", failed.error)
    assert "one two three".startswith(stored.output_text)
    assert stored.output_text
    assert Talk(sdk).again(failed.id) == events
    assert "failed" in refused_to_go_on(sdk, failed.id)


@each_api
def test_a_client_that_leaves_midway_finds_the_partial_answer(sdk, gateway, upstream, api):
    upstream.script(broken(api, "hang"))
    with sdk.responses.create(model=f"on-{api}", input="Tell.", stream=True) as stream:
        events = []
        while not events or events[-1].type != "response.output_text.delta":
            events.append(next(stream))
    id = events[0].response.id
    stored = eventually_there(gateway, id)
    assert (stored.status, stored.output[0].status) == ("cancelled", "incomplete")
    assert stored.output_text.startswith(events[-1].delta)
    assert Talk(sdk).again(id)[: len(events)] == events
    assert "cancelled" in refused_to_go_on(sdk, id)


def broken(api: str, end) -> Raw:
    """An answer of which only the beginning comes."""
    pieces = render(Script(text="one two three"), api, {"stream": True, "model": "up"}).pieces
    text = next(i for i, piece in enumerate(pieces) if re.search(rb"one|tw", piece))
    return Raw(200, STREAM, pieces[: text + 1], end)


def eventually_there(gateway: Gateway, id: str) -> Response:
    """The stored response, once it is stored."""
    reply = eventually(
        lambda: (reply := gateway.request("GET", f"/v1/responses/{id}")).status == 200 and reply, 10, "the response"
    )
    return Response.model_validate(reply.json)


# Turns without their client


@each_api
def test_a_turn_in_the_background_continues_while_its_client_looks_for_it(sdk, upstream, api):
    upstream.script(Script(text="one two three"), Script(text="four"))
    talk = Talk(sdk)
    begun = talk.ask(api, "Count.", background=True)
    assert (begun.status in ("queued", "in_progress"), begun.background) == (True, True)
    done = eventually(lambda: (now := sdk.responses.retrieve(begun.id)).status == "completed" and now, 10, "its end")
    assert (done.output_text, done.background) == ("one two three", True)
    talk.ask(api, "Go on.", previous_response_id=begun.id)
    assert conversation_in(upstream.seen[1]) == [("user", "Count."), ("text", "one two three"), ("user", "Go on.")]


@each_api
def test_a_lost_background_stream_resumes_at_its_last_event(sdk, upstream, api):
    upstream.script(Script(text="one two three", thinking="Easy."))
    with sdk.responses.create(model=f"on-{api}", input="Count.", background=True, stream=True) as stream:
        seen = [next(stream) for _ in range(5)]
    talk, id = Talk(sdk), seen[0].response.id
    rest = talk.again(id, seen[-1].sequence_number)
    assert [event.sequence_number for event in (*seen, *rest)] == list(range(len(seen) + len(rest)))
    assert talk.again(id) == [*seen, *rest]
    assert (rest[-1].type, rest[-1].response) == ("response.completed", sdk.responses.retrieve(id))
