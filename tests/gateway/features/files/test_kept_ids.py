"""Conversations that refer to uploaded files: they go to the provider that stores the files, with its ids."""

import json
from typing import Any

import pytest

from gateway.features.files.kept_ids import EventsWithClientIds
from gateway.kept_objects.owned_ids import OwnerIds
from tests.support.cases import case
from tests.support.endpoint_provider import events, json_answer
from tests.support.features import needs_feature
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


def stream_of_made() -> bytes:
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


@pytest.mark.parametrize("stream", [False, True])
async def test_container_files_are_fetched_by_the_ids_in_the_answer(stream):
    async with serving("openai") as served:
        provider = served.providers["openai"]
        provider.answers["/v1/responses"] = events(stream_of_made()) if stream else json_answer(MADE)

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


def test_ids_in_events_are_replaced_wherever_the_events_are_split():
    account = account_with_owners()
    ids = OwnerIds((account,), "a")
    whole = EventsWithClientIds(ids, account, 2**20)
    body = stream_of_made()
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
        error_of(lambda: ask(id))  # this provider has no answer to conversations
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
    error_of(lambda: ask("file-of-the-console", "first", KEYS["c"]))
    assert first.asked[-1].json["messages"][0]["content"][1]["file"] == {"file_id": "file-of-the-console"}


GOOGLE_FILE = "/v1beta/files/native1"
REFUSED = json_answer({"error": {"message": "no"}}, 400)
PATHS = (
    "/v1/responses", "/v1/responses/input_tokens", "/v1/messages", "/v1/chat/completions",
    "/v1beta/models/gemini-x:generateContent", "/v1beta/interactions",
)  # fmt: skip


def conversation(*parts: Any, **more: Any) -> dict[str, Any]:
    return {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, *parts]}],
        **more,
    }


def question(input: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "input": input, **more}


def input_part(**part: Any) -> list[Any]:
    return [{"role": "user", "content": [part]}]


def native_references(google: str) -> dict[str, tuple[str, str, Any]]:
    """Return requests with a provider's own id, by name: the provider, the path and the body."""
    url = google + GOOGLE_FILE
    interpreter = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["native1"]}}
    return {
        "chat file": ("openai", "/v1/chat/completions", conversation(
            {"type": "file", "file": {"file_id": "native1"}}, model="gpt-5")),
        "responses file": ("openai", "/v1/responses", question(input_part(type="input_file", file_id="native1"))),
        "responses image": ("openai", "/v1/responses", question(input_part(type="input_image", file_id="native1"))),
        "code interpreter": ("openai", "/v1/responses", question(tools=[interpreter])),
        "container": ("openai", "/v1/responses", question(tools=[{**interpreter, "container": "native1"}])),
        "vector store": ("openai", "/v1/responses", question(
            tools=[{"type": "file_search", "vector_store_ids": ["native1"]}])),
        "tokens": ("openai", "/v1/responses/input_tokens", question(input_part(type="input_file", file_id="native1"))),
        "messages file": ("anthropic", "/v1/messages", conversation(
            {"type": "document", "source": {"type": "file", "file_id": "native1"}}, model="claude-x")),
        "messages container": ("anthropic", "/v1/messages", conversation(container="native1", model="claude-x")),
        "gemini file": ("gemini", "/v1beta/models/gemini-x:generateContent", {
            "contents": [{"parts": [{"fileData": {"fileUri": url}}]}]}),
        "gemini name": ("gemini", "/v1beta/models/gemini-x:generateContent", {
            "contents": [{"parts": [{"file_data": {"file_uri": "files/native1"}}]}]}),
        "interactions": ("gemini", "/v1beta/interactions", {
            "model": "gemini-x", "input": [{"type": "document", "uri": url, "mime_type": "application/pdf"}]}),
    }  # fmt: skip


@with_gateway("openai", "anthropic", "gemini")
def test_a_providers_own_id_in_a_conversation_needs_the_right_to_foreign_ids(served):
    """Otherwise a client could use another client's file by the id without its tag."""
    for name, (provider, path, body) in native_references(served.providers["gemini"].url).items():
        asked, answers = served.providers[provider].asked, served.providers[provider].answers
        answers.update(dict.fromkeys(PATHS, REFUSED))
        text = json.dumps(body)
        hidden = text.replace('"file_id', '"fil\\u0065_id').replace("/files/", "\\/files\\/")
        for sent in (text, hidden):
            with case((name, sent)):
                headers = {"content-type": "application/json"}
                if provider == "anthropic":
                    headers["anthropic-version"] = "2023-06-01"
                asked.clear()
                found = served.http("POST", path, KEYS["a"], content=sent, headers=headers)
                assert (found.status_code, asked) == (404, []), found.text
                assert "foreign_ids" in found.text
                served.http("POST", path, KEYS["c"], content=sent, headers=headers)
                assert asked


MEDIA = {
    "/v1/images/edits": lambda id: {"model": "gpt-5", "prompt": "x", "images": [{"file_id": id}]},
    "/v1/ocr": lambda id: {"model": "gpt-5", "document": {"type": "file", "file_id": id}},
    "/v1/videos": lambda id: {"model": "gpt-5", "prompt": "x", "input_reference": {"file_id": id}},
}


@needs_feature("other_endpoints")
@with_gateway("openai", entry={"endpoints": {"image_edits": True, "ocr": "/ocr", "videos": True}})
def test_requests_for_media_refer_to_files_by_the_clients_own_ids(served):
    provider = served.providers["openai"]
    provider.answers |= dict.fromkeys(MEDIA, REFUSED)
    own = served.openai(KEYS["a"]).files.create(file=("a.pdf", b"text"), purpose="user_data").id
    others = served.openai(KEYS["b"]).files.create(file=("b.pdf", b"text"), purpose="user_data").id
    native = served.openai(KEYS["c"]).files.list().data[0].id
    for path, body in MEDIA.items():
        for key, id, is_sent in (("a", own, True), ("a", others, False), ("a", native, False), ("c", native, True)):
            with case((path, key, id)):
                provider.asked.clear()
                found = served.http("POST", path, KEYS[key], json=body(id))
                assert (found.status_code == 404, bool(provider.asked)) == (not is_sent, is_sent), found.text
                if is_sent:
                    assert own not in json.dumps(provider.asked[-1].json)


@needs_feature("other_endpoints")
@with_gateway("openai", entry={"endpoints": {"image_edits": True, "videos": True}})
def test_a_form_refers_to_files_by_id_only_with_the_right_to_foreign_ids(served):
    provider = served.providers["openai"]
    native = served.openai(KEYS["c"]).files.create(file=("c.pdf", b"text"), purpose="user_data").id
    for path, field in (("/v1/images/edits", "images[][file_id]"), ("/v1/videos", "input_reference[file_id]")):
        provider.answers |= {path: REFUSED}
        for key, is_sent in (("a", False), ("c", True)):
            with case((path, key)):
                provider.asked.clear()
                form = {"model": (None, "gpt-5"), "prompt": (None, "x"), field: (None, native)}
                found = served.http("POST", path, KEYS[key], files=form)
                assert bool(provider.asked) == is_sent
                assert is_sent or (found.status_code, found.json()["error"]["param"]) == (400, field)


@with_gateway("openai")
def test_a_providers_own_id_in_a_line_of_a_batch_needs_the_right_to_foreign_ids(served):
    provider = served.providers["openai"]
    _, url, body = native_references(provider.url)["responses file"]
    line = json.dumps({"custom_id": "1", "method": "POST", "url": url, "body": body}).encode()

    def upload(key: str) -> Any:
        return served.openai(key).files.create(file=("b.jsonl", line), purpose="batch")

    found = error_of(lambda: upload(KEYS["a"]))
    assert (found.status_code, provider.asked) == (404, [])
    assert "line 1 of the file" in found.body["message"]
    assert upload(KEYS["c"]).id


@with_gateway("openai", "gemini")
def test_texts_and_urls_that_are_no_ids_pass(served):
    provider = served.providers["openai"]
    provider.answers |= dict.fromkeys(PATHS, REFUSED)
    arguments = json.dumps({"file_id": "x", "container": "nginx"})
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    for body in (
        question([call, {"type": "function_call_output", "call_id": "c", "output": arguments}]),
        question(input_part(type="input_image", image_url="https://pictures.example/v1/files/a.png")),
        question(tools=[{"type": "function", "name": "f", "parameters": {"container": "nginx", "file_id": "x"}}]),
    ):
        provider.asked.clear()
        served.http("POST", "/v1/responses", json=body)
        assert provider.asked, body
