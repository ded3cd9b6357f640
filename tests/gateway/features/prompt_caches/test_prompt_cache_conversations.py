"""Conversations whose history is not in the request, is replaced, or is changed by the gateway."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cached_prompts import mark_end, tool_of, user_item
from tests.support.cached_talks import ENTRIES, CachedTalk, Turn, entries, long_text
from tests.support.features import needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import config, eventually, exchanges, provider
from tests.support.scripts import Script, Tokens
from tests.support.upstreams import JSON, PATHS, Raw
from tests.support.websocket_client import Client

NUMBERS: Final = itertools.count(1)
Send = Callable[..., dict[str, Any]]


@serve_module
def running(upstream):
    entry = provider("openai/gpt-5.6-sol", f"{upstream.url}/v1", ["responses"], name="sol")
    return config([entry], retries={"attempts": 2})


@serve_module
def mock_gateway(mock):
    return config(entries(mock.url))


# History at the provider


def answer_of(id: str, total: int, read: int, written: int | None = None) -> Script:
    """Return an answer to a prompt of ``total`` tokens, which are written to the cache unless they were ``read``."""
    written = total - read if written is None else written
    return Script("Yes.", tokens=Tokens(total, read, written, output=1), more={"id": id})


@pytest.fixture(params=["http", *rows_of("responses_websocket", "websocket")])
def send(request, running, upstream) -> Iterator[Send]:
    """Return a function that sends a turn, to which the provider responds as given, and returns its log line."""
    known = len(running.log)

    def line_after(number: int) -> dict[str, Any]:
        return dict(eventually(lambda: exchanges(running.log[known:])[number:])[0])

    def post(answer: Script, **body: Any) -> dict[str, Any]:
        number = len(exchanges(running.log[known:]))
        upstream.script(answer)
        assert running.request("POST", PATHS["responses"], {"model": "sol", **body}).status == 200
        return line_after(number)

    if request.param == "http":
        yield post
        return
    with Client.connect(running.port) as client:

        def create(answer: Script, **body: Any) -> dict[str, Any]:
            number = len(exchanges(running.log[known:]))
            upstream.script(answer)
            assert client.ask("sol", body.pop("input"), **body)[-1]["type"] == "response.completed"
            return line_after(number)

        yield create


def test_turns_that_the_provider_continues_belong_together(send, upstream):
    """History that the provider keeps counts as unchanged."""
    name, ids = f"native {next(NUMBERS)}", (f"resp_{next(NUMBERS)}" for _ in itertools.count())
    first, second, third, fourth = (next(ids) for _ in range(4))
    rules, question = long_text(name), f"Describe the project of {name}, please, in detail and with care."
    line = send(answer_of(first, 6000, 0), instructions=rules, input=question)
    assert "prompt_cache_cause" not in line
    more = {"instructions": rules, "input": "Explain the next part."}
    line = send(answer_of(second, 6050, 6000), previous_response_id=first, **more)
    assert (line["prompt_cache_could"], line["prompt_cache_missed"]) == (6000, 0)
    assert upstream.seen[-1].json["previous_response_id"] == first
    line = send(answer_of(third, 6100, 0), previous_response_id=second, **more)
    assert (line["prompt_cache_could"], line["prompt_cache_cause"]) == (6050, "provider")
    changed = {**more, "instructions": f"It is 09:31. {rules}"}
    line = send(answer_of(fourth, 6150, 0), previous_response_id=third, **changed)
    assert (line["prompt_cache_could"], line["prompt_cache_cause"]) == (6100, "system")
    assert line["prompt_cache_at"] == "instructions:0-64 (time)"


def test_a_fork_of_a_continued_turn_is_no_miss(send):
    name = f"native fork {next(NUMBERS)}"
    first, second, third = (f"resp_{next(NUMBERS)}" for _ in range(3))
    rules, question = long_text(name), f"Describe the project of {name}, please, in detail and with care."
    send(answer_of(first, 6000, 0), instructions=rules, input=question)
    more = {"instructions": rules, "previous_response_id": first}
    send(answer_of(second, 7000, 6000), input="Explain the next part, with each of its details.", **more)
    line = send(answer_of(third, 6100, 6000), input="Tell me about another part, please, briefly.", **more)
    assert (line["prompt_cache_could"], line["prompt_cache_missed"]) == (6000, 0)


def test_a_turn_of_an_unknown_response_is_no_first_turn(send):
    """A response is unknown after a restart or an eviction, or on another gateway. The next turn is known."""
    unknown, first, second = (f"resp_{next(NUMBERS)}" for _ in range(3))
    line = send(answer_of(first, 9000, 0), previous_response_id=unknown, input="Go on.")
    assert (line["prompt_cache_cause"], line["prompt_cache_could"]) == ("unknown:not_seen", 0)
    line = send(answer_of(second, 9100, 9000), previous_response_id=first, input="Go on, please.")
    assert (line["prompt_cache_could"], line["prompt_cache_missed"]) == (9000, 0)


def test_a_second_attempt_has_the_same_history(running, upstream):
    """The provider fails first. Both attempts continue the earlier turn."""
    name = f"native retry {next(NUMBERS)}"
    first, second = (f"resp_{next(NUMBERS)}" for _ in range(2))
    body = {"model": "sol", "instructions": long_text(name)}
    upstream.script(answer_of(first, 6000, 0))
    running.request("POST", PATHS["responses"], {**body, "input": f"Describe {name}, please, in detail and with care."})
    upstream.script(Raw(503, JSON, (b"{}",)), answer_of(second, 6050, 6000))
    more = {"previous_response_id": first, "input": "Explain the next part."}
    reply = running.request("POST", PATHS["responses"], {**body, **more})
    line = eventually(lambda: exchanges(running.log, reply.headers["x-request-id"]))[0]
    assert (line["attempts"], line["prompt_cache_could"], line["prompt_cache_missed"]) == (2, 6000, 0)


# Conversations with equal or changing texts

REMINDER: Final = "<system-reminder>As you answer, you can use the following context: " + "a rule of it. " * 20


def add_clock(api: str, body: dict[str, Any], turn: int) -> None:
    """Add a text that only this ``turn`` has to its newest message, after the mark if it has one."""
    [member] = body.keys() & {"messages", "input", "contents"}
    text, at = f"The time is 09:3{turn}:07. The user has opened a file in the editor.", 2 * turn + (api == "chat")
    item = body[member][at]
    match api:
        case "messages":
            item["content"].append({"type": "text", "text": text})
        case "converse":
            item["content"].append({"text": text})
        case "gemini":
            item["parts"].append({"text": text})
        case _:
            body[member].insert(at + 1, user_item(api, text))


@pytest.mark.parametrize("opening", ["block", "message", "all"])
def test_a_conversation_that_begins_like_another_does_not_continue_it(mock_gateway, opening):
    """Claude Code begins each conversation with the same reminder. The other one has other tools, and equal calls."""

    def send(talk: CachedTalk, **more: Any) -> Turn:
        body = talk.body(**more)
        messages, block = body["messages"], {"type": "text", "text": REMINDER}
        if opening == "message":
            messages.insert(0, {"role": "user", "content": [block]})
        elif opening == "block":
            messages[0]["content"].insert(0, block)
        else:
            messages[0]["content"] = [block]
        if opening != "all":
            messages[opening == "message"]["content"][-1]["text"] = f"Please help with {more or 'the first task'}."
        return talk.send(body)

    first, other = (CachedTalk(mock_gateway, "messages", "sonnet", f"begins with {opening}") for _ in range(2))
    for _ in range(4):
        assert send(first).cause is None
    turns = [send(other, tools=[tool_of("messages", f"look_{number}") for number in range(20)]) for _ in range(3)]
    assert [(turn.cause, turn.line.get("prompt_cache_missed", 0)) for turn in turns] == [(None, 0)] * 3
    assert turns[2].line["prompt_cache_could"] == turns[2].line["cached_tokens"]


@pytest.mark.parametrize("model", ENTRIES)
def test_short_turns_in_many_conversations_do_not_identify_a_conversation(mock_gateway, model):
    """A client's conversations have the same last turns, and other first messages and tools."""
    api = ENTRIES[model][2]
    causes = []
    for name, text in (("one", long_text("one", 200)), ("two", "Please look at two"), ("three", "And at three")):
        talk = CachedTalk(mock_gateway, api, model, f"short {name} {model}")
        for number in (0, 1, 2):
            body = talk.body(tools=[tool_of(api, name)])
            [member] = body.keys() & {"messages", "input", "contents"}
            turns = [item for _ in range(number) for item in spoken_items(api)]
            body[member] = [user_item(api, text), *turns]
            causes.append(talk.send(mark_end(api, body)).cause)
    assert causes == [None] * 9


def spoken_items(api: str) -> list[dict[str, Any]]:
    """Return a short answer, and the user's short next turn."""
    match api:
        case "gemini":
            answer: dict[str, Any] = {"role": "model", "parts": [{"text": "Done."}]}
        case "interactions":
            answer = {"type": "model_output", "content": [{"type": "text", "text": "Done."}]}
        case "converse":
            answer = {"role": "assistant", "content": [{"text": "Done."}]}
        case _:
            answer = {"role": "assistant", "content": "Done."}
    return [answer, user_item(api, "continue")]


@pytest.mark.parametrize("stays", [False, True], ids=["moves", "stays"])
@pytest.mark.parametrize("model", ENTRIES)
def test_text_that_changes_at_the_end_of_each_newest_message_costs_nothing(mock_gateway, model, stays):
    """The documentation advises this position for the time. The provider reads as much from its cache as possible."""
    api = ENTRIES[model][2]
    talk = CachedTalk(mock_gateway, api, model, f"a clock {model} {stays}")
    could = []
    for number in range(6):
        body = talk.body()
        for earlier in range(number, -1 if stays else number - 1, -1):
            add_clock(api, body, earlier)
        turn = talk.send(body)
        could.append(turn.line.get("prompt_cache_could", 0))
        if number > 1 and model != "sol":  # sol caches only up to ends of messages, and this end changes
            assert turn.cause is None
            assert could[-1] - 200 <= turn.line["cached_tokens"]
    assert could[2:] == sorted(could[2:])
    assert could[-1] > could[2] + 300


# A replaced history


# The gateway's own changes

CHANGING_STEP: Final = '''
import itertools

from trigate.steps import Check, Finding

NUMBERS = itertools.count()


def changing(check: Check) -> list[Finding]:
    """Find another word of the system text in each request."""
    number = next(NUMBERS)
    found = [one for one in check.passages if "instructions of" in one.text][:1]
    return [Finding("word", one, number * 7, number * 7 + 5) for one in found]
'''


@needs_feature("steps")
@pytest.mark.parametrize("api_and_model", [("messages", "sonnet"), ("chat", "gpt")])
def test_a_mask_that_differs_in_each_turn_is_attributed_to_its_step(mock, tmp_path: Path, api_and_model):
    """The client's own prompt is unchanged; ``at`` has the name of the step."""
    api, model = api_and_model
    (tmp_path / "steps.py").write_text(CHANGING_STEP)
    step = {"use": f"{tmp_path}/steps.py:changing", "name": "random-words", "at": ["request"], "action": "mask"}
    with gateway_thread(config(entries(mock.url), steps=[step])) as gateway:
        talk = CachedTalk(gateway, api, model, f"a changing mask {api} {model}")
        turns = [talk.send() for _ in range(4)]
    assert [turn.cause for turn in turns] == [None, *["edited"] * 3]
    assert all("step random-words" in turn.line["prompt_cache_at"] for turn in turns[1:]), turns[1].line


REFUSED: Final = {"type": "invalid_request_error", "message": "system.0.cache_control: Extra inputs are not permitted"}


def marked_turn(turn: int, *, is_marked: bool = True) -> dict[str, Any]:
    mark = {"cache_control": {"type": "ephemeral"}}
    said: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[at % 2], "content": f"Part {at} of a conversation with refused marks."}
        for at in range(2 * turn + 1)
    ]
    system = [{"type": "text", "text": long_text("refused marks"), **(mark if is_marked else {})}]
    return {"model": "sonnet", "max_tokens": 9, "system": system, "messages": said}


@needs_feature("cache_acts")
@pytest.mark.parametrize(
    ("entry", "missed", "at", "refused"),
    [
        ({}, 0, "system[].cache_control", REFUSED["message"]),
        ({"prompt_cache": {"marks": "5m"}}, 10, "cache_control+1", "cache_control: Extra inputs are not permitted"),
    ],
    ids=["of the client", "of the gateway"],
)
def test_marks_that_a_provider_refuses_are_attributed_to_the_gateway_once(upstream, entry, missed, at, refused):
    """The gateway removes them and sends the request again, also in later turns."""
    place = provider("anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="sonnet", **entry)
    with gateway_thread(config([place])) as gateway:

        def send(turn: int, *answers: Raw | Script) -> dict[str, Any]:
            upstream.script(*answers)
            reply = gateway.request("POST", PATHS["messages"], marked_turn(turn, is_marked=not entry))
            assert reply.status == 200, reply.body
            return dict(eventually(lambda: exchanges(gateway.log, reply.headers["x-request-id"]))[0])

        assert "prompt_cache_cause" not in send(0, answer_of("msg_0", 6010, 0, 6000))
        line = send(1, answer_of("msg_1", 6030, 6000, 0))
        assert (line["prompt_cache_missed"], line.get("adapted")) == (missed, "cache_control+1" if entry else None)
        error = {"type": "error", "error": {**REFUSED, "message": refused}}
        line = send(2, Raw(400, JSON, (json.dumps(error).encode(),)), answer_of("msg_2", 6050, 0, 0))
        assert (line["attempts"], line["prompt_cache_cause"], line["prompt_cache_at"]) == (2, "edited", at)
        for turn in (3, 4):
            line = send(turn, answer_of(f"msg_{turn}", 6050 + 20 * turn, 0, 0))
            assert b"cache_control" not in upstream.seen[-1].body
            if not entry:  # otherwise, the cause is that the client sends no marks
                assert "prompt_cache_cause" not in line
                assert "prompt_cache_usd" not in line


def summary_of(talk: CachedTalk, words: str) -> dict[str, Any]:
    """Return the body of the next turn, with a summary in place of the history."""
    body = talk.body()
    body["messages"] = [{"role": "user", "content": [{"type": "text", "text": f"Summary of {talk.name}: {words}"}]}]
    return body


def test_compaction_is_recognized_by_the_session(mock):
    """The same tools and system text, and less than half of the messages."""
    with gateway_thread(config(entries(mock.url))) as gateway:
        session = {"x-claude-code-session-id": "8c7a2c55-1c2f-4d6a-9d3b-000000000001"}
        talk = CachedTalk(gateway, "messages", "sonnet", "a compaction", headers=session)
        for _ in range(40):
            talk.send()
        turn = talk.send(summary_of(talk, "they looked at all files, and found the fault in the third one."))
        assert turn.cause == "compacted"
        assert "prompt_cache_usd" not in turn.line or turn.line["prompt_cache_usd"] == 0  # C34
        other = CachedTalk(gateway, "messages", "sonnet", "a sub-agent", headers=session)
        assert [other.send().cause for _ in range(3)] == [None] * 3  # the session does not decide
