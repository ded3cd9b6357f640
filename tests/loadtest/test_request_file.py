"""Files of requests: which forms a line may have, what is sent of each, and how what is wrong is told."""

import json

import msgspec
import pytest

from configfile.document import ConfigError
from configfile.wording import Wrong
from loadtest.plan.load_request import LoadRequest
from loadtest.requests.file_requests import (
    MessagesRequest,
    WholeBody,
    read_request,
    request_file,
    with_model,
    with_settings_of,
)

USER = {"role": "user", "content": "Hello"}
TALK = [
    {"from": "human", "value": "What is a bolt?"},
    {"from": "gpt", "value": "A fastener. " * 10},
    {"from": "human", "value": "And a nut?"},
    {"from": "gpt", "value": "What goes on it."},
]


def line(**members) -> bytes:
    return json.dumps(members).encode()


@pytest.fixture
def read(tmp_path):
    def read(content: bytes, api="chat"):
        path = tmp_path / "own.jsonl"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return request_file(str(path), api)

    return read


def test_each_form_of_a_line_is_known():
    """Those of guidellm's and vLLM's files of their users, and ShareGPT's talks."""
    assert read_request(line(prompt="Hi", output_tokens=7, id=3), "chat") == MessagesRequest((
        {"role": "user", "content": "Hi"},), output=7)  # fmt: skip
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    found = read_request(line(messages=[{"role": "system", "content": "Be brief."}, USER], tools=[tool]), "messages")
    assert found == MessagesRequest(({"role": "system", "content": "Be brief."}, USER), (tool,))
    found = read_request(line(id="x", conversations=TALK), "chat")
    assert found == MessagesRequest(
        ({"role": "user", "content": "What is a bolt?"},), output=30, later_texts=("And a nut?",)
    )
    roles = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert read_request(line(conversations=roles), "chat").messages == ({"role": "user", "content": "a"},)


def test_the_api_of_a_body_is_that_which_can_read_it():
    block = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "4"}]}
    untyped = {"role": "user", "content": [{"text": "Hi"}]}
    cases = [
        ({"model": "m", "messages": [USER]}, "chat"),
        ({"model": "m", "messages": [{"role": "developer", "content": "x"}, USER], "max_tokens": 5}, "chat"),
        ({"model": "m", "messages": [USER], "system": "x", "max_tokens": 5}, "messages"),
        ({"model": "m", "messages": [block], "max_tokens": 5}, "messages"),
        ({"model": "m", "messages": [USER], "tools": [{"name": "f", "input_schema": {}}], "max_tokens": 5}, "messages"),
        ({"model": "m", "input": "Hi"}, "responses"),
        ({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}, "gemini"),
        ({"messages": [untyped], "inferenceConfig": {"maxTokens": 5}}, "converse"),
    ]
    for body, api in cases:
        for asked in ("chat", "messages"):
            found = read_request(line(**body), asked)
            assert isinstance(found, WholeBody), body
            assert found.api == api, (body, asked)
    either = line(model="m", messages=[USER], max_tokens=5)
    assert [read_request(either, api).api for api in ("chat", "messages", "responses")] == ["chat", "messages", "chat"]


def test_a_body_states_whether_it_streams_and_its_maximum_tokens():
    kind = LoadRequest("m", api="chat", stream=False)
    body = line(
        model="m", messages=[USER], stream=True, max_completion_tokens=9, stream_options={"include_usage": True}
    )
    found = read_request(body, "chat")
    assert found.output == 9
    sent = with_settings_of(kind, found)
    assert (sent.api, sent.stream, sent.usage, sent.name) == ("chat", True, True, kind.name)
    plain = with_settings_of(kind, read_request(line(model="m", messages=[USER]), "chat"))
    assert (plain.stream, plain.usage) == (False, False)
    gemini = read_request(line(contents=[], generationConfig={"maxOutputTokens": 4}), "chat")
    assert (gemini.output, with_settings_of(kind, gemini).stream) == (4, False)


def test_only_the_model_of_a_body_changes():
    cases = {
        b' {"a" : [1,  2.50],"model" :"model" , "z":{}}': b' {"a" : [1,  2.50],"model" :"n\\"" , "z":{}}',
        b'{"model":"a"}': b'{"model":"n\\""}',
        b'{ "a\\u0062":"model", "model":null}': b'{ "a\\u0062":"model", "model":"n\\""}',
        b'{"messages":[] }': b'{"model":"n\\"","messages":[] }',
        b"{}": b'{"model":"n\\""}',
    }
    for body, sent in cases.items():
        assert with_model(body, 'n"') == sent, body
        assert msgspec.json.decode(sent)["model"] == 'n"'
    for twice in (b'{"a":1,"a":2,"model":"x"}', b'{"model":"x","model":"y"}'):
        with pytest.raises(Wrong, match="appears twice"):
            with_model(twice, "n")


def test_lines_and_arrays_yield_the_same_requests(read):
    lines = [line(prompt="one"), line(conversations=TALK), line(model="m", messages=[USER])]
    found = [
        read(content)
        for content in (
            b"\n".join(lines),
            b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines) + b"\r\n",
            b" [\n" + b" ,\n ".join(lines) + b"\n]\n",
            b"[" + b",".join(lines) + b"]",
        )
    ]
    for file in found:
        assert [file.request(i) for i in range(len(file))] == [read_request(one, "chat") for one in lines]
        assert file.forms == {"prompts": 1, "talks of several turns": 1, "bodies of chat": 1}
        assert "(1 prompt, 1 talk of several turns, 1 body of chat)" in file.describe()


def test_a_request_file_describes_used_and_skipped_lines(read):
    nobody = line(conversations=[{"from": "gpt", "value": "Hi"}])
    said = read(b"\n".join([line(prompt="a"), line(prompt="b"), nobody, line(prompt=""), nobody])).describe()
    assert said == (
        "own.jsonl: 2 requests (2 prompts); 2 skipped: the conversation has no text of a user; "
        "1 skipped: the prompt has no text"
    )


def test_every_bad_line_is_reported_by_its_number_before_the_load(read):
    good = line(prompt="a") + b"\n"
    cases = {
        b"{broken": "own.jsonl:3: this is not JSON",
        b'"text"': "own.jsonl:3: this is not a JSON object; give a body of an API",
        b"{}": "own.jsonl:3: an empty object",
        line(question="x", answer="y"): "own.jsonl:3: an object with question, answer; give a body",
        line(model="m", prompt="x", max_tokens=4): "own.jsonl:3: a body of the old Completions API",
        line(prompt=["a"]): "own.jsonl:3: prompt: a list; expected text",
        line(prompt="a", output_tokens=0): "own.jsonl:3: output_tokens: 0; expected a whole number",
        line(messages="a"): "own.jsonl:3: messages: 'a'; expected a list of objects",
        line(messages=[{"role": "nobody", "content": "x"}]): "own.jsonl:3: ",
        line(conversations=[{"text": "x"}]): "own.jsonl:3: each turn in conversations needs from and value",
    }
    for bad, said in cases.items():
        with pytest.raises(ConfigError) as caught:
            read(good + b"\n" + bad + b"\n" + good)
        assert len(caught.value.mistakes) == 1, bad
        assert said in str(caught.value), bad
    with pytest.raises(ConfigError) as caught:
        read(b"[\n" + good + b",\n3,\n4]")
    assert [mistake.line for mistake in caught.value.mistakes] == [4, 5]
    for nothing in (b"", b"\n\n", b"[]", line(prompt="")):
        with pytest.raises(ConfigError, match="the file has no requests"):
            read(nothing)
    with pytest.raises(ConfigError, match="the JSON array is not valid"):
        read(b"[{},")


@pytest.mark.parametrize(
    "bad",
    [
        b'{"prompt": "caf\xe9"}',
        b'{"messages": [{"role": "user", "content": "caf\xe9"}]}',
        b'{"conversations": [{"from": "human", "value": "caf\xe9"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "caf\xe9"}]}',
        b'{"model": "m", "input": "caf\xe9"}',
        b'{"contents": [{"parts": [{"text": "caf\xe9"}]}]}',
        b'{"caf\xe9": 1, "prompt": "a"}',
    ],
)
def test_a_file_in_latin_1_is_a_mistake_and_never_sent(read, bad):
    """The decoder of JSON takes a text that nobody reads as it is."""
    good = line(prompt="a") + b"\n"
    for data, number in ((good + bad, 2), (b"[\n" + bad + b"]", 2)):
        with pytest.raises(ConfigError) as caught:
            read(data)
        assert [mistake.line for mistake in caught.value.mistakes] in ([number], [1])
    with pytest.raises(ConfigError, match=r"this is not UTF-8 \(byte [0-9]+\); save the file as UTF-8"):
        read(bad)


def test_requests_of_endpoints_in_latin_1_are_a_mistake_too(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_bytes(b'{"model": "m", "input": "caf\xe9"}')
    with pytest.raises(ConfigError, match="this is not UTF-8"):
        request_file(str(file), "embeddings")


def test_a_file_that_is_missing_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: no such file"):
        request_file(str(tmp_path / "none.jsonl"), "chat")
    with pytest.raises(ConfigError, match="cannot be read"):
        request_file(str(tmp_path), "chat")


def test_a_large_file_is_not_held_in_memory(read, monkeypatch):
    """What is kept of a request are two numbers: ShareGPT's file has 640 MB."""
    monkeypatch.setattr("loadtest.requests.file_requests.IN_MEMORY", 50_000)
    one = line(prompt="x" * 10_000)
    for content in (one + b"\n", b"\n".join([one] * 17), b"[" + b", ".join([one] * 17) + b"]"):
        file = read(content)
        assert isinstance(file.data, bytes) == (len(content) < 50_000)
        assert file.starts.itemsize * len(file.starts) == 8 * len(file)
        assert len(file.request(len(file) - 1).messages[0]["content"]) == 10_000


def test_the_requests_of_the_package_are_of_several_kinds():
    file = request_file("synthetic", "chat")
    assert len(file) >= 24
    assert file.forms["prompts"] >= 8
    assert file.forms["with tools"] >= 3
    assert file.forms["talks of several turns"] >= 3
    requests = [file.request(i) for i in range(len(file))]
    assert sum(one.messages[0]["role"] == "system" for one in requests) >= 6
    assert len({one.messages[-1]["content"] for one in requests}) == len(requests)


def test_members_of_a_line_that_a_terminal_would_obey_are_escaped(tmp_path):
    path = tmp_path / "x.jsonl"
    for text, said in (('{"\\u001b[2J": 1}', "an object with \\x1b[2J"),
                       ('{"prompt": "x", "output_tokens": %s}' % ("9" * 400), "output_tokens: ")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            request_file(str(path), "chat")
        assert caught.value.mistakes[0].found.startswith(said), text
