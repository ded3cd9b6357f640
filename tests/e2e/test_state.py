"""Tests of stored conversations of the Responses API with the official SDK and every store."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.support.apis import OLDER
from tests.support.gateway_thread import serve_module
from tests.support.sdk_conversation import PIXEL, TURNS, Talk, as_heard, conversation_in, settings, tool_names
from tests.support.upstreams import PATHS, Raw, Script, Seen, render

EACH = [(api, stream) for api in OLDER for stream in (True, False)]
PARTS = {"memory": (0, 3, 4), "sqlite": (2, 5), "postgres": (1,)}
OVER_EACH_STORE = [
    pytest.param(
        store, *one, marks=[pytest.mark.server] * (store == "postgres") + [pytest.mark.soak] * (number not in part)
    )
    for store, part in PARTS.items()
    for number, one in enumerate(EACH)
]
"""A store, the provider's API, and true if clients request streams. Stored data is the same for each API, so only the
soak has each API with each store."""


def parameter_id(value: Any) -> str:
    return {True: "stream", False: "whole"}.get(value, str(value))


over_each_store = pytest.mark.parametrize(
    ("gateway", "api", "stream"), OVER_EACH_STORE, indirect=["gateway"], ids=parameter_id
)


@serve_module
def gateway(request, upstream, storage):
    return settings(upstream, state_storage=storage(request.param))


@over_each_store
def test_every_turn_sends_only_new_messages_and_the_provider_gets_all(sdk, upstream, api, stream):
    upstream.script(*(turn.answer for turn in TURNS))
    talk = Talk(sdk, stream)
    previous, ids, said = None, set(), []
    for i, turn in enumerate(TURNS):
        response = talk.ask(api, turn.input, previous_response_id=previous, **turn.more)
        assert (response.previous_response_id, response.store) == (previous, True)
        previous = response.id
        ids.add(previous)

        said += turn.asked
        seen = upstream.seen[i]
        assert seen.path == PATHS[api]
        assert conversation_in(seen) == [*turn.system, *as_heard(api, said)]
        assert tool_names(seen) == [tool["name"] for tool in turn.more.get("tools", ())]
        assert not {"previous_response_id", "conversation"} & set(seen.json)
        if api == "responses":
            assert seen.json["store"] is False
            assert ("reasoning" in seen.json) == (seen.json.get("include") == ["reasoning.encrypted_content"])
        said += turn.conversation_in
    assert len(ids) == len(TURNS), "the provider has said the same id each time"


@over_each_store
def test_stored_turns_can_be_read_again(sdk, upstream, api, stream):
    upstream.script(*(turn.answer for turn in TURNS[:3]))
    talk = Talk(sdk, stream)
    previous, items = None, []
    for turn in TURNS[:3]:
        response = talk.ask(api, turn.input, previous_response_id=previous, **turn.more)
        previous = response.id
        assert sdk.responses.retrieve(response.id) == response
        listed = list(sdk.responses.input_items.list(response.id, order="asc", limit=4))
        assert [item.id for item in listed[: len(items)]] == [item.id for item in items]
        assert len(listed) > len(items)
        items = [*listed, *response.output]

        events = talk.again(response.id)
        assert not stream or events == talk.events
        assert events[-1].response == response
        for after in (0, len(events) // 2):
            assert talk.again(response.id, after) == events[after + 1 :]
    image, text = items[0].content[1], items[0].content[0].text
    assert (image.image_url.endswith(PIXEL), text) == (True, "What is the weather there?")
    assert len({item.id for item in items}) == len(items)


@over_each_store
def test_a_conversation_continues_by_its_own_id(sdk, upstream, api, stream):
    upstream.script(*(turn.answer for turn in TURNS))
    talk = Talk(sdk, stream)
    hello = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    conversation = sdk.conversations.create(items=[hello], metadata={"topic": "weather"})
    said = [("user", "Hello")]
    for i, turn in enumerate(TURNS):
        response = talk.ask(api, turn.input, conversation=conversation.id, **turn.more)
        assert response.conversation.id == conversation.id
        assert sdk.responses.retrieve(response.id) == response
        said += turn.asked
        assert conversation_in(upstream.seen[i]) == [*turn.system, *as_heard(api, said)]
        said += turn.conversation_in
    assert sdk.conversations.retrieve(conversation.id) == conversation

    items = list(sdk.conversations.items.list(conversation.id, order="asc", limit=4))
    assert [item.id for item in items[-len(response.output) :]] == [item.id for item in response.output]
    assert len({item.id for item in items}) == len(items)
    note = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One more"}]}
    added = sdk.conversations.items.create(conversation.id, items=[note]).data[0]
    assert sdk.conversations.items.retrieve(added.id, conversation_id=conversation.id) == added
    sdk.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    upstream.script(Script(text="Bye."))
    talk.ask(api, "thing", conversation=conversation.id)
    assert conversation_in(upstream.seen[0]) == [*as_heard(api, said[1:]), ("user", "One more"), ("user", "thing")]

    sdk.conversations.delete(conversation.id)
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(conversation.id)
    assert sdk.responses.retrieve(response.id).id == response.id


@pytest.mark.parametrize(
    "gateway", ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.server)], indirect=True
)
def test_a_conversation_has_all_of_its_simultaneous_turns(sdk, gateway, upstream, monkeypatch):
    """Each turn is followed by its answer; the order of the turns does not matter."""

    def answer(seen: Seen) -> Raw:
        api = next(api for api, path in PATHS.items() if path == seen.path)
        return render(Script(text=f"on {conversation_in(seen)[-1][1]}"), api, seen.json)

    monkeypatch.setattr(upstream, "answer", answer)
    id = sdk.conversations.create().id

    def ask(number: int) -> int:
        body = {"model": f"on-{OLDER[number % 3]}", "input": str(number), "conversation": id, "stream": number % 2 == 0}
        return gateway.request("POST", "/v1/responses", body).status

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(ask, range(12))) == [200] * 12
    texts = [item.content[0].text for item in sdk.conversations.items.list(id, order="asc")]
    assert sorted(texts[::2]) == sorted(map(str, range(12)))
    assert texts[1::2] == [f"on {text}" for text in texts[::2]]
