"""Single turns of the Responses API that trigate keeps: whom they reach, and which of them can be continued."""

from itertools import product

import openai
import pytest

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import provider
from tests.support.responses_api import both_ways
from tests.support.sdk_conversation import TURNS, Talk, as_heard, conversation_in, settings
from tests.support.upstreams import Script


@serve_module
def gateway(upstream):
    asked = settings(upstream)
    asked["model_providers"].append(provider("attic/on-attic", f"{upstream.url}/v1", ["responses"]))
    return asked


@each_row(("stream", "api"), product((True, False), OLDER))
def test_another_model_gets_everything_except_foreign_thinking(sdk, upstream, api, stream):
    """The first model also gets its own thinking back, with its signature."""
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


@each_row("stream", (True, False))
def test_one_response_can_be_continued_twice(sdk, upstream, stream):
    upstream.script(*(Script(text=text) for text in ("A", "B", "C")))
    talk = Talk(sdk, stream)
    first = talk.ask("chat", "a")
    for i, word in enumerate("bc", 1):
        talk.ask("chat", word, previous_response_id=first.id)
        assert conversation_in(upstream.seen[i]) == [("user", "a"), ("text", "A"), ("user", word)]


@each_row(("stream", "api"), product((True, False), OLDER))
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
