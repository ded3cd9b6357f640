"""Conversations that refer to uploaded files: they go to the provider that stores the files, with its ids."""

import json
from typing import Any

import pytest

from gateway.exchange.kept_ids import EventsWithClientIds
from gateway.kept_objects.owned_ids import OwnerIds
from tests.support.endpoint_provider import events, json_answer
from tests.support.kept_accounts import account_with_owners
from tests.support.kept_clients import KEYS, error_of, run, serving, with_gateway

CITED = {
    "type": "container_file_citation", "container_id": "cntr_11", "file_id": "cfile_22", "filename": "a.png",
    "start_index": 0, "end_index": 1,
}  # fmt: skip
MADE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5", "error": None,
    "output": [
        {"id": "ci_1", "type": "code_interpreter_call", "container_id": "cntr_11", "code": "x", "status": "completed",
         "outputs": None},
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": 'see "file_id": "cfile_22"', "annotations": [CITED]}]},
    ],
    "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": []}}],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
              "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
    "parallel_tool_calls": True, "tool_choice": "auto", "metadata": {},
}  # fmt: skip


def streamed() -> bytes:
    begun = {**MADE, "status": "in_progress", "output": []}
    sequence = (
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.done", "output_index": 0, "item": MADE["output"][0]},
        {"type": "response.output_item.added", "output_index": 1, "item": {**MADE["output"][1], "content": []}},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "item_id": "msg_1",
         "delta": 'see "file_id": "cfile_22"'},
        {"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0, "item_id": "msg_1",
         "annotation_index": 0, "annotation": CITED},
        {"type": "response.output_item.done", "output_index": 1, "item": MADE["output"][1]},
        {"type": "response.completed", "response": MADE},
    )  # fmt: skip
    return b"".join(
        f"event: {one['type']}\ndata: {json.dumps({**one, 'sequence_number': number})}\n\n".encode()
        for number, one in enumerate(sequence)
    )


@pytest.mark.sample(2)
@pytest.mark.parametrize("stream", [False, True])
async def test_container_files_are_fetched_by_the_ids_in_the_answer(stream):
    async with serving("openai") as served:
        provider = served.providers["openai"]
        provider.answers["/v1/responses"] = events(streamed()) if stream else json_answer(MADE)

        def steps() -> None:
            client = served.openai()
            tools: Any = [{"type": "code_interpreter", "container": {"type": "auto"}}]
            answer = client.responses.create(model="gpt-5", input="draw", tools=tools, store=True, stream=stream)
            if stream:
                *_, last = list(answer)
                answer = last.response
            call, message = answer.output
            text = message.content[0]
            (cited,) = text.annotations
            assert text.text == 'see "file_id": "cfile_22"', "what is said stays"
            assert cited.container_id == call.container_id
            assert cited.container_id.startswith("cntr_T")
            assert cited.file_id.startswith("cfile_T")
            client.containers.files.content.retrieve(cited.file_id, container_id=cited.container_id)
            assert provider.asked[-1].path == "/v1/containers/cntr_11/files/cfile_22/content"
            other = served.openai(KEYS["b"]).containers.files.content
            assert error_of(lambda: other.retrieve(cited.file_id, container_id=cited.container_id)).status_code == 404
            plain = client.responses.create(model="gpt-5", input="say", store=True, stream=stream)
            if not stream:
                assert plain.output[0].container_id == "cntr_11", "nobody looks at what has no such tools"

        provider.answers["/v1/containers/cntr_11/files/cfile_22/content"] = json_answer({"id": "file-1"})
        await run(steps)


def test_events_are_shown_alike_wherever_they_are_split():
    account = account_with_owners()
    ids = OwnerIds((account,), "a")
    whole = EventsWithClientIds(ids, account, 2**20)
    body = streamed()
    expected = whole.take(body) + whole.close()
    assert expected.count(b"cntr_T") == 5
    assert b"cntr_11" not in expected
    for size in (1, 7, 64, 1000):
        shown = EventsWithClientIds(ids, account, 2**20)
        parts = [shown.take(body[at : at + size]) for at in range(0, len(body), size)]
        assert b"".join((*parts, shown.close())) == expected, size
        assert shown.close() == b""


@with_gateway("openai:first", "openai:second", model_aliases={"both": {"targets": ["first", "second"]}})
def test_a_file_in_a_conversation_is_the_providers_own_and_chooses_the_provider(served):
    first, second = served.providers["first"], served.providers["second"]
    client = served.openai()
    id = client.files.create(file=("a.pdf", b"x"), purpose="user_data", extra_query={"provider": "second"}).id
    (native,) = second.kept
    assert id != native

    def ask(id: str, model: str = "both", key: str = KEYS["a"]) -> Any:
        part: Any = {"type": "file", "file": {"file_id": id}}
        text = {"type": "text", "text": f"{id} is a name like any other"}
        asked: Any = [{"role": "user", "content": [text, part]}]
        return served.openai(key).chat.completions.create(model=model, messages=asked)

    for _ in range(3):
        error_of(lambda: ask(id))  # the provider of this test answers no conversation
    asked = [one for one in second.asked if "completions" in one.path]
    assert len(asked) >= 3
    content = asked[0].json["messages"][0]["content"]
    assert content == [{"type": "text", "text": f"{id} is a name like any other"},
                       {"type": "file", "file": {"file_id": native}}]  # fmt: skip
    assert first.asked == []
    elsewhere = error_of(lambda: ask(id, "first"))
    assert (elsewhere.status_code, elsewhere.body["code"]) == (400, "kept_elsewhere")
    other = error_of(lambda: ask(id, key=KEYS["b"]))
    assert other.status_code == 404
    assert "another key created it" in other.body["message"]
    error_of(lambda: ask("file-of-the-console", "first"))
    assert first.asked[-1].json["messages"][0]["content"][1]["file"] == {"file_id": "file-of-the-console"}
