"""What the load tester sends, and what it understands of the answers."""

import itertools

import attrs
import msgspec

from loadtest.exchange.content import NOTHING, EventContent, error_message, read_event, read_whole_answer
from loadtest.exchange.record import AnswerTokens
from loadtest.plan.load_request import LoadRequest, PromptImages
from loadtest.requests.bodies import Bodies, api_of, chat_like_body, request_headers, request_url
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.request import Tool
from providers.neutral.seal import Issuer
from streams.events import AnswerEnd, AnswerStart, BlockEnd, ErrorInfo, TextDelta, Usage
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row

SEVEN = AnswerTokens(output=7)


@each_row("api", CODECS)
def test_each_body_is_a_good_request_of_its_size(api):
    bodies = Bodies(LoadRequest("m", api=api, tools=2, stream=api != "chat"))
    for prompt in ("one", 'two "words"\n' * 40):
        value = msgspec.json.decode(bodies.make_body(prompt, 77))
        call = CODECS[api].read_request(value)
        if CODECS[api].wire.model_member is not None:
            assert (call.model, call.stream) == ("m", api != "chat")
        assert call.parameters["max_tokens"].value == 77
        assert [tool.name for tool in call.tools if isinstance(tool, Tool)] == ["look_up_1", "look_up_2"]
        (part,) = call.messages[-1].parts
        assert part.text == prompt


@each_row("api", CODECS)
def test_images_are_in_the_place_that_the_api_defines(api):
    bodies = Bodies(LoadRequest("m", api=api, images=PromptImages((8, 8), 2)))
    sent = bodies.make_body("look", 5, [b"aW1hZ2Ux", b"aW1hZ2Uy"])
    text, *images = CODECS[api].read_request(msgspec.json.decode(sent)).messages[-1].parts
    assert text.text == "look"
    assert [(one.source.value, one.source.media_type) for one in images] == [
        ("aW1hZ2Ux", "image/png"), ("aW1hZ2Uy", "image/png")
    ]  # fmt: skip


def test_extra_members_win():
    request = LoadRequest("m", extra={"temperature": 0, "max_completion_tokens": 5})
    value = msgspec.json.decode(Bodies(request).make_body("x", 9))
    assert (value["temperature"], value["max_completion_tokens"]) == (0, 5)
    said = {"messages": [{"role": "user", "content": "mine"}]}
    assert msgspec.json.decode(Bodies(LoadRequest("m", extra=said)).make_body("x", 9))["messages"] == said["messages"]


def test_an_exact_length_is_requested_with_vllms_members():
    """min_tokens and ignore_eos are extensions of vLLM's; SGLang knows the second."""
    value = msgspec.json.decode(Bodies(LoadRequest("m", exact=True)).make_body("x", 128))
    assert (value["min_tokens"], value["ignore_eos"], value["max_completion_tokens"]) == (128, True, 128)
    assert "min_tokens" not in msgspec.json.decode(Bodies(LoadRequest("m")).make_body("x", 128))


@each_row("api", CODECS)
def test_messages_of_a_file_are_reported_in_every_api(api):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    request = LoadRequest("m", api=api, tools=3, extra={"temperature": 0})
    value = msgspec.json.decode(chat_like_body(request, messages, [tool], 55))
    call = CODECS[api].read_request(value)
    assert call.parameters["max_tokens"].value == 55
    assert [tool.name for tool in call.tools if isinstance(tool, Tool)] == ["f"]
    assert [part.text for message in call.messages for part in message.parts] == ["Be brief.", "Hello"]
    assert value["temperature"] == 0


def test_the_path_is_added_as_far_as_it_is_missing():
    for url, whole in [
        ("http://h:1", "http://h:1/v1/messages"),
        ("http://h/", "http://h/v1/messages"),
        ("http://vllm", "http://vllm/v1/messages"),
        ("http://h/v1/", "http://h/v1/messages"),
        ("http://h/api/v1beta", "http://h/api/v1beta/messages"),
        ("http://h/anthropic", "http://h/anthropic/v1/messages"),
        ("http://h/x/messages", "http://h/x/messages"),
        ("http://h/v1?a=b", "http://h/v1/messages?a=b"),
    ]:
        with case((url, whole)):
            assert request_url(url, LoadRequest("m", api="messages")) == whole


def test_a_path_may_name_the_model():
    for api, stream, url, whole in [
        ("gemini", True, "http://h", "http://h/v1beta/models/a%20b/c:streamGenerateContent?alt=sse"),
        ("gemini", False, "http://h/v1", "http://h/v1/models/a%20b/c:generateContent"),
        ("converse", True, "http://h/", "http://h/model/a%20b/c/converse-stream"),
        ("converse", False, "http://h?x=1", "http://h/model/a%20b/c/converse?x=1"),
    ]:
        with case((api, stream, url, whole)):
            assert request_url(url, LoadRequest("a b/c", api=api, stream=stream)) == whole


@each_row("api", CODECS)
def test_streams_of_every_api_are_understood(api):
    """As the codec writes them: how often there was content, how many tokens were counted, and that one failed."""
    events = [AnswerStart("id", "m"), *(TextDelta(0, word) for word in ("one ", "two")), BlockEnd(0)]
    asked = LoadRequest("m", api=api)
    body = msgspec.json.decode(Bodies(asked).make_body("x", 9))
    call = attrs.evolve(CODECS[api].read_request(body), model="m", stream=True)
    for ends, tokens, failed in (
        ((Usage(input=3, output=5), AnswerEnd("stop")), 5, False),
        ((ErrorInfo("overloaded", "no room"),), None, True),
    ):
        writer = CODECS[api].writer(Reply(call, Issuer("", ""), 1, 1))
        stream = b"".join(writer.send(event) for event in (*events, *ends))
        found = [read_event(api, raw) for raw in CODECS[api].wire.framing.splitter(2**20).feed(stream)]
        assert sum(one.content for one in found) == 2
        assert [one.tokens.output for one in found if one.tokens and one.tokens.output][-1:] == (
            [tokens] if tokens else []
        )
        assert {one.message for one in found if one.error} == ({"no room"} if failed else set()), "Gemini repeats it"


def test_a_whole_url_says_its_api():
    assert api_of("http://h/v1/responses") == "responses"
    assert api_of("http://h/v1") is None


def test_keys_go_where_the_api_has_them_and_given_headers_win():
    assert dict(request_headers("messages", "k", ()))["x-api-key"] == "k"
    assert dict(request_headers("responses", "k", ()))["authorization"] == "Bearer k"
    assert dict(request_headers("chat", "k", (("Authorization", "mine"),)))["authorization"] == "mine"


def test_events_and_answers_are_read_in_every_api():
    for api, data, said in [
        ("chat", {"choices": [{"delta": {"role": "assistant", "content": ""}}]}, EventContent()),
        ("chat", {"choices": [{"delta": {"content": "x"}}]}, EventContent(content=True)),
        ("chat", {"choices": [{"delta": {"reasoning_content": "x"}}]}, EventContent(content=True)),
        ("chat", {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, EventContent(content=True)),
        ("chat", {"choices": [], "usage": {"completion_tokens": 7}}, EventContent(tokens=SEVEN)),
        ("chat", {"error": {"type": "t", "code": "c", "message": "m"}}, EventContent(error="c", message="m")),
        ("messages", {"type": "content_block_delta", "delta": {"thinking": "x"}}, EventContent(content=True)),
        ("messages", {"type": "content_block_delta", "delta": {"signature": "x"}}, EventContent()),
        (
            "messages",
            {"type": "message_delta", "usage": {"output_tokens": 7}},
            EventContent(tokens=SEVEN),
        ),
        ("messages", {"type": "error", "error": {"type": "overloaded_error"}}, EventContent(error="overloaded_error")),
        ("responses", {"type": "response.output_text.delta", "delta": "x"}, EventContent(content=True)),
        (
            "responses",
            {"type": "response.completed", "response": {"usage": {"output_tokens": 7}}},
            EventContent(tokens=SEVEN),
        ),
        ("responses", {"type": "response.failed", "response": {"error": {"code": "c"}}}, EventContent(error="c")),
        ("responses", {"type": "error", "code": "c", "message": "m"}, EventContent(error="c", message="m")),
        (  # over a WebSocket
            "responses",
            {"type": "error", "status": 429, "error": {"type": "t", "code": "c", "message": "m"}},
            EventContent(error="c", message="m"),
        ),
        ("chat", {"choices": 3, "usage": []}, EventContent()),
        ("messages", {"type": 3}, EventContent()),
        ("responses", {"type": 3, "response": 4}, EventContent()),
        ("chat", [1], NOTHING),
    ]:
        with case((api, data, said)):
            found = read_whole_answer(api, msgspec.json.encode(data))
            assert (found.content, found.tokens, found.error, found.message) == (
                said.content, said.tokens, said.error, said.message,
            )  # fmt: skip


@each_row("raw, api", itertools.product([b": ping\n\n", b"data: {\n\n", b"\n\n", b"data: \xff\n\n"], OLDER))
def test_events_without_content_read_as_nothing(raw, api):
    assert read_event(api, raw) is NOTHING


def test_an_error_body_is_reported_in_one_line():
    for body, said in [
        (b'{"error": {"message": "too\\n many"}}', "too many"),
        (b'{"error": "no model"}', "no model"),
        (b"<p>Bad\n gateway", "<p>Bad gateway"),
        (b"", ""),
    ]:
        with case((body, said)):
            assert error_message(body) == said
