"""The demo answers like a provider: all three APIs, streamed and not, with tools and with thinking, each also through a
translation."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from gateway.commands.demo import demo_config
from gateway.config.redaction import secrets_in
from tests.support.apis import OLDER, question
from tests.support.command_line import running_command
from tests.support.each_row import each_row
from tests.support.gateway_thread import demo_thread, mock_thread
from tests.support.harness import Gateway, Reply, request

MODELS = ("demo", "demo-chat", "demo-messages", "demo-responses", "demo-gemini", "demo-converse", "demo-interactions")
TYPED = ("demo-embedding", "demo-rerank", "demo-image", "demo-speech", "demo-transcription", "demo-moderation")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "messages": [{"name": "weather", "input_schema": SCHEMA}],
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
}
THINKING = {
    "chat": {"reasoning_effort": "low"},
    "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
    "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
}
ANSWER = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "kind": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["title", "kind", "score"],
    "additionalProperties": False,
}
FORMATS = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
    "responses": {"text": {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER}}},
}
FILLED = {"title": "Hello", "kind": "good", "score": 1}
SAID, THOUGHT, CALLED = "You said: “Hello”", "Here a real model would think", {"city": "Paris"}
ENDED = "stand-in model"


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with demo_thread() as process:
        yield process


def ask(served: Gateway, api: str, model: str, **more: object) -> Reply:
    limit = {"max_tokens": 500} if api == "messages" else {}
    reply = request(served.url, "POST", PATHS[api], question(api, model, "Hello", **(limit | more)))
    assert reply.status == 200, reply.body
    assert not reply.cut
    return reply


def read(api: str, answer: dict) -> dict[str, object]:
    """Text, thinking and tool calls of a whole answer."""
    if api == "chat":
        message = answer["choices"][0]["message"]
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        return told([message["content"]], [message.get("reasoning_content")], decoded(calls))
    items = answer["output" if api == "responses" else "content"]
    of = {kind: [item for item in items if item["type"] == kind] for kind in {item["type"] for item in items}}
    if api == "messages":
        thinking = [item["thinking"] for item in of.get("thinking", ())]
        calls = [(item["name"], item["input"]) for item in of.get("tool_use", ())]
        return told([item["text"] for item in of.get("text", ())], thinking, calls)
    text = [part["text"] for item in of.get("message", ()) for part in item["content"]]
    thinking = [part["text"] for item in of.get("reasoning", ()) for part in item["summary"]]
    return told(text, thinking, decoded(of.get("function_call", ())))


def told(text: Iterable[str | None], thinking: Iterable[str | None], calls: list) -> dict[str, object]:
    return {"text": "".join(one or "" for one in text), "thinking": "".join(one or "" for one in thinking),
            "calls": calls}  # fmt: skip


def decoded(calls: Iterable[dict]) -> list:
    return [(call["name"], json.loads(call["arguments"])) for call in calls]


def streamed(api: str, reply: Reply) -> dict[str, object]:
    """The same of a stream that ends well."""
    events = [data for _, data in reply.events()]
    if api == "responses":
        assert events[-1]["type"] == "response.completed"
        return read(api, events[-1]["response"])
    if api == "chat":
        assert events[-1] == "[DONE]"
        deltas = [choice["delta"] for event in events[:-1] for choice in event["choices"]]
        calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
        pieces = [call.get("arguments") for call in calls]
        text, thinking = "content", "reasoning_content"
    else:
        assert events[-1]["type"] == "message_stop"
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        calls = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        pieces = [delta.get("partial_json") for delta in deltas]
        text, thinking = "text", "thinking"
    names = [call["name"] for call in calls if call.get("name")]
    assert len(names) <= 1
    arguments = "".join(piece or "" for piece in pieces)
    called = [(name, json.loads(arguments)) for name in names]
    return told([delta.get(text) for delta in deltas], [delta.get(thinking) for delta in deltas], called)


@each_row(("api", "stream", "model"), product(OLDER, [False, True], MODELS), every=6)
def test_text_tools_thinking_and_json(served, api, model, stream):
    tell = streamed if stream else lambda api, reply: read(api, reply.json)

    text = tell(api, ask(served, api, model, stream=stream))
    assert SAID in text["text"]
    assert (text["thinking"], text["calls"]) == ("", [])

    called = tell(api, ask(served, api, model, stream=stream, tools=TOOLS[api]))
    assert called["calls"] == [("weather", CALLED)]

    thought = tell(api, ask(served, api, model, stream=stream, **THINKING[api]))
    assert thought["thinking"].startswith(THOUGHT)
    assert SAID in thought["text"]

    assert json.loads(tell(api, ask(served, api, model, stream=stream, **FORMATS[api]))["text"]) == FILLED


@pytest.mark.sample(5)
@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("api", OLDER)
def test_the_lane_is_byte_where_the_apis_are_the_same(served, api, model):
    unstored = {"store": False} if api == "responses" else {}  # what is stored is told with an id of ours
    lane = ask(served, api, model, **unstored).headers["x-trigate-lane"]
    assert lane == ("byte" if model == f"demo-{api}" else "hub")


@pytest.mark.sample(9)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "open", "schema": {**ANSWER, "additionalProperties": True}}},
    ],
    ids=["object", "open schema"],
)
def test_json_that_the_api_cannot_enforce_is_json(served, model, format):
    """The gateway requests it in words, which real models follow."""
    answer = json.loads(ask(served, "chat", model, response_format=format).json["choices"][0]["message"]["content"])
    assert isinstance(answer, dict)
    assert format["type"] == "json_object" or answer == FILLED


def test_no_model_and_no_key_are_needed(served):
    reply = request(served.url, "POST", PATHS["chat"], {"messages": [{"role": "user", "content": "Hello"}]})
    assert (reply.status, reply.headers["x-trigate-target"]) == (200, "demo/mock-large")


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("api", "model"),
    [("messages", "claude-opus-4-8"), ("messages", "claude-haiku-4-5-20251001"), ("responses", "gpt-5.4"),
     ("chat", "gemini-2.5-pro"), ("chat", "stand-in/whatever"),
     ("messages", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"), ("chat", "amazon.nova-pro-v1:0"),
     ("chat", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-v1:0"),
     ("responses", "llama3.2"), ("chat", "llama3.2:latest"), ("chat", "openai/gpt-4o"), ("chat", "openrouter/auto"),
     ("chat", "meta-llama/Llama-3.3-70B-Instruct"), ("chat", "qwen/qwen3-32b:free"),
     ("chat", "fireworks_ai/some-model"), ("messages", "deepseek/deepseek-chat"), ("chat", "facebook/opt-1.3b"),
     ("chat", "falcon3:10b")],
)  # fmt: skip
def test_names_of_real_models_are_answered_by_the_stand_in(served, api, model):
    reply = ask(served, api, model)
    assert reply.headers["x-trigate-target"] == f"stand-in/{model.removeprefix('stand-in/')}"
    assert ENDED in read(api, reply.json)["text"]


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("name", "works"),
    [
        ("mine", "stand-in/mine"),
        ("demo-chta", "demo-chat"),
        ("demo-chat2", "demo-chat"),
        ("falt/429", "fault/429"),
        ("fault-429", "stand-in/fault-429"),
        ("fault/rate-limited", "fault/rate_limited"),
        ("fault-messages/rate-limited", "fault/rate_limited"),
        ("demo/mock", "demo/mock-large"),
    ],
)
def test_another_name_is_a_404_that_says_what_works(served, name, works):
    asked = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    reply = request(served.url, "POST", PATHS["chat"], asked)
    assert reply.status == 404
    assert works in reply.json["error"]["message"]
    assert f"fault/{name}" not in reply.json["error"]["message"]


def test_no_text_of_the_demo_is_masked_as_its_key(served):
    said = [ask(served, "messages", model, stream=stream).body for model in MODELS for stream in (False, True)]
    keys = secrets_in(demo_config("http://127.0.0.1"))
    assert keys
    assert [key for key in keys if any(key.encode() in body for body in said)] == []


def test_the_models_are_listed(served):
    listed = request(served.url, "GET", "/v1/models").json["data"]
    assert [model["id"] for model in listed] == [*MODELS, *TYPED]
    assert [f"demo-{model['type']}" for model in listed[len(MODELS) :]] == list(TYPED)
    assert request(served.url, "GET", "/v1/audio/models").json == {"models": [{"id": "demo-speech"}]}


@each_row("model", MODELS, every=3)
def test_the_sdks_finish_a_round_with_a_tool(served, model):
    with openai.OpenAI(api_key="any", base_url=f"{served.url}/v1", max_retries=0, http_client=_http()) as client:
        messages: list = [{"role": "user", "content": "Hello"}]
        asked = client.chat.completions.create(model=model, messages=messages, tools=TOOLS["chat"]).choices[0].message
        (call,) = asked.tool_calls
        messages += [asked, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        ended = client.chat.completions.create(model=model, messages=messages, tools=TOOLS["chat"])
        assert ENDED in ended.choices[0].message.content
    with anthropic.Anthropic(api_key="any", base_url=served.url, max_retries=0, http_client=_http()) as client:
        messages = [{"role": "user", "content": "Hello"}]
        more = {"model": model, "max_tokens": 100, "tools": TOOLS["messages"]}
        with client.messages.stream(messages=messages, **more) as stream:
            answer = stream.get_final_message()
        (use,) = [block for block in answer.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
        with client.messages.stream(messages=messages, **more) as stream:
            assert ENDED in stream.get_final_text()


@pytest.mark.soak
@pytest.mark.process
def test_words_arrive_at_the_requested_pace():
    with running_command("mock", "--port", "0", "--pace", "0.004") as mock:
        assert mock.banner.startswith("trigate mock is listening on http://127.0.0.1:")
        assert "mock-small, mock-large" in mock.banner
        begun = time.monotonic()
        reply = ask(mock, "chat", "mock-small", stream=True)
        took = time.monotonic() - begun
        words = [event for event in reply.events() if event[1] != "[DONE]" and event[1]["choices"]
                 and event[1]["choices"][0]["delta"].get("content")]  # fmt: skip
        assert len(words) > 40
        assert took >= len(words) * 0.004
        assert mock.stop() == 0


def test_the_mock_alone_refuses_what_a_provider_would():
    with mock_thread() as mock:
        for api in OLDER:
            reply = request(mock.url, "POST", PATHS[api], b"[]")
            assert reply.status == 400
            assert "request body" in reply.json["error"]["message"]


@pytest.mark.soak
def test_the_demo_also_serves_the_other_endpoints(served):
    """One address for all that a program asks for: OpenAI's SDK through the gateway, the stand-in behind it."""
    with openai.OpenAI(api_key="none", base_url=f"{served.url}/v1", max_retries=0, http_client=_http()) as client:
        vectors = client.embeddings.create(model="demo", input=["a cat", "a cat", "dogs"], dimensions=8).data
        assert [len(one.embedding) for one in vectors] == [8, 8, 8]
        assert vectors[0].embedding == vectors[1].embedding != vectors[2].embedding
        assert "stand-in" in client.completions.create(model="demo", prompt="Once").choices[0].text
        events = list(client.completions.create(model="demo", prompt="Once", stream=True))
        assert events[-1].choices[0].finish_reason == "stop"
        assert client.moderations.create(input="violence").results[0].categories.violence  # no model is named here
        (drawn,) = client.images.generate(model="demo", prompt="A cat").data or ()
        assert (drawn.b64_json or "").startswith("iVBOR")
        partial = [one.type for one in client.images.generate(
            model="demo", prompt="A cat", stream=True, partial_images=1)]  # fmt: skip
        assert partial == ["image_generation.partial_image", "image_generation.completed"]
        spoken = client.audio.speech.create(model="demo", input="Hello there", voice="alloy").content
        assert spoken.startswith(b"RIFF")
        heard = client.audio.transcriptions.create(model="demo", file=("hello.wav", spoken))
        assert f"hello.wav has {len(spoken)} bytes" in heard.text
        with pytest.raises(openai.RateLimitError):
            client.embeddings.create(model="fault/429", input="a cat")
        for model in ("demo", "gpt-realtime"):
            with client.realtime.connect(model=model) as session:
                session.response.create(response={"output_modalities": ["text"]})
                kinds = [event.type for event in until_done(session)]
            assert (kinds[0], kinds[-1]) == ("session.created", "response.done")
    asked = {"model": "demo", "query": "food for cats", "documents": ["dogs", "cats like food"]}
    for body in (asked, {**asked, "model": None}, {**asked, "model": "demo-rerank"}):
        ranked = json.loads(request(served.url, "POST", "/v1/rerank", body).body)
        assert [one["index"] for one in ranked["results"]] == [1, 0]


@pytest.mark.soak
def test_files_and_batches_can_be_tried(served):
    """OpenAI's SDK and Anthropic's: a batch is done when it is asked for again, and its results stay with us."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    asked = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode()
    with openai.OpenAI(api_key="none", base_url=f"{served.url}/v1", max_retries=0, http_client=_http()) as client:
        file = client.files.create(file=("in.jsonl", asked), purpose="batch")
        assert [one.id for one in client.files.list()] == [file.id]
        begun = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        done = client.batches.retrieve(begun.id)
        assert (begun.status, done.status) == ("validating", "completed")
        (line,) = client.files.content(done.output_file_id or "").content.splitlines()
        assert json.loads(line)["custom_id"] == "a"
        store = client.vector_stores.create(name="papers")
        assert client.vector_stores.update(store.id, name="books").name == "books"
        within = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
        assert [one.id for one in client.vector_stores.files.list(store.id)] == [within.id] == [file.id]
        assert client.vector_stores.files.delete(file.id, vector_store_id=store.id).deleted
        assert list(client.vector_stores.files.list(store.id)) == []
        box = client.containers.create(name="box")
        put = client.containers.files.create(box.id, file=("a.txt", b"a"))
        assert client.containers.files.content.retrieve(put.id, container_id=box.id).content == b"a"
        assert [one.id for one in client.containers.files.list(box.id)] == [put.id]
        assert client.files.delete(file.id).deleted
    with anthropic.Anthropic(api_key="none", base_url=served.url, max_retries=0, http_client=_http()) as other:
        of_it = other.messages.batches.create(requests=[{"custom_id": "b", "params": {**body, "max_tokens": 50}}])
        (result,) = other.messages.batches.results(of_it.id)
        assert (result.custom_id, result.result.type) == ("b", "succeeded")


def test_files_of_anthropics_can_be_tried_next_to_openais(served):
    """At the same paths, each for its own SDK."""
    with (
        anthropic.Anthropic(api_key="none", base_url=served.url, max_retries=0, http_client=_http()) as client,
        openai.OpenAI(api_key="none", base_url=f"{served.url}/v1", max_retries=0, http_client=_http()) as other,
    ):
        theirs = other.files.create(file=("b.txt", b"other words"), purpose="user_data")
        file = client.files.upload(file=("a.txt", b"words", "text/plain"))
        assert (file.type, file.filename, file.size_bytes) == ("file", "a.txt", 5)
        assert [one.id for one in client.files.list()] == [file.id]
        assert theirs.id in [one.id for one in other.files.list()]
        assert file.id not in [one.id for one in other.files.list()]
        assert client.files.retrieve_metadata(file.id).id == file.id
        assert client.files.download(file.id).read() == b"words"
        source: Any = {"type": "document", "source": {"type": "file", "file_id": file.id}}
        said = client.messages.create(
            model="demo", max_tokens=50, messages=[{"role": "user", "content": [source, {"type": "text", "text": "?"}]}]
        )
        assert said.stop_reason == "end_turn"
        assert client.files.delete(file.id).type == "file_deleted"
        assert list(client.files.list()) == []


def until_done(session: Any) -> Iterator[Any]:
    """The events of a realtime session up to the end of an answer."""
    for event in session:
        yield event
        if event.type == "response.done":
            return


def _http() -> httpx2.Client:
    return httpx2.Client(verify=False, trust_env=False)
