"""Sessions of several turns, without a network."""

import random

import attrs
import msgspec
import pytest

from loadtest.plan.lengths import UniformLengths, constant_length
from loadtest.plan.load_request import FollowUp, LoadRequest, ThinkTime, ToolResults, Turns
from loadtest.plan.traces import load_trace
from loadtest.requests.conversation import (
    ROUNDS,
    CannotContinue,
    MadeConversations,
    TracedConversations,
    UserTurn,
    conversation_of,
    split_turns,
)
from loadtest.requests.made_requests import MadeRequests
from loadtest.requests.sources import PreparedRequest, SourceSetting
from providers.apis import CODECS

WHOLE = LoadRequest("m", stream=False)


def words(tokens: int, rng: random.Random) -> str:
    return f"{tokens} tokens"


def answered(text: str, *calls: str) -> bytes:
    """What a Chat server answers."""
    message = {"role": "assistant", "content": text}
    called = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for n, name in enumerate(calls)
    ]
    choice = {"index": 0, "message": message | ({"tool_calls": called} if calls else {}), "finish_reason": "stop"}
    return msgspec.json.encode({"id": "c", "object": "chat.completion", "choices": [choice]})


def held(session, *answers: bytes) -> list[list[dict]]:
    """The messages of each of the session's requests."""
    found, before = [], None
    for answer in (*answers, b""):
        if (request := session.turn(before)) is None:
            break
        found.append(msgspec.json.decode(request.body)["messages"])
        before = answer
    return found


def conversations(**members) -> MadeConversations:
    request = attrs.evolve(WHOLE, **members)
    return MadeConversations(request, MadeRequests(request, SourceSetting()), words)


def test_a_conversation_has_its_number_of_turns_and_each_has_all_before():
    session = conversations(turns=Turns(constant_length(3)), follow_up=FollowUp(constant_length(7))).session(
        4, random.Random(1)
    )
    first, second, third = held(session, answered("One."), answered("Two."), answered("Three."))
    assert second == [*first, {"role": "assistant", "content": "One."}, {"role": "user", "content": "7 tokens"}]
    assert third == [*second, {"role": "assistant", "content": "Two."}, {"role": "user", "content": "7 tokens"}]
    assert session.unbegun == 0
    assert session.turn(answered("Three.")) is None


def test_the_drawn_plan_does_not_depend_on_the_answers():
    """So that several processes, each of which sends a part, go through one plan."""
    source = conversations(
        turns=Turns(UniformLengths(2, 9)), think=ThinkTime(UniformLengths(0, 9000)), prompt=(10, 900)
    )
    plans = []
    for answer in (answered("One."), answered("", "look_up"), b"no answer"):
        rng = random.Random(5)
        plans.append([])
        for number in range(60):
            session = source.session(number, rng)
            session.turn(None)
            plans[-1].append(1 + session.unbegun)
            session.turn(answer)
    assert plans[0] == plans[1] == plans[2]
    assert {2, 9} <= set(plans[0]) <= set(range(2, 10))


def test_results_of_tools_replace_what_the_user_would_say():
    results = ToolResults({"look_up": "21 degrees", "*": constant_length(50)})
    session = conversations(turns=Turns(constant_length(3)), tool_results=results).session(1, random.Random(1))
    *_, third = held(session, answered("", "look_up", "other"), answered("Warm."))
    assert [message["role"] for message in third] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [message["content"] for message in third[2:4]] == ["21 degrees", "50 tokens"]
    assert [message["tool_call_id"] for message in third[2:4]] == ["call_0", "call_1"]


def test_tool_results_alternate_with_user_texts_and_end():
    said = [UserTurn("And Oslo?")]
    opening = PreparedRequest(WHOLE, b'{"messages":[{"role":"user","content":"Rome?"}]}')
    session = conversation_of(opening, said, words, random.Random(1))
    calls = answered("", "look_up")
    *_, last = held(session, calls, calls, answered("Warm."), answered("Cold."))
    roles = [message["role"] for message in last]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant", "user"]
    session = conversation_of(opening, said, words, random.Random(1))
    requests = held(session, *[calls] * 100)
    assert len(requests) == 1 + ROUNDS + 1 + ROUNDS
    assert [message["content"] for message in requests[ROUNDS + 1][-2:]] == ["done", "And Oslo?"]


def test_a_failed_turn_ends_it_and_the_rest_is_counted():
    """Others lost a tenth of a run and told nobody (kubernetes-sigs/inference-perf#780)."""
    session = conversations(turns=Turns(constant_length(5))).session(1, random.Random(1))
    assert len(held(session, answered("One."), b'{"error": {"message": "overloaded"}}')) == 2
    assert session.unbegun == 3


def test_the_time_to_think_is_bounded():
    """Recorded ones are tens of minutes (ai-dynamo/aiperf#1262)."""
    opening = PreparedRequest(attrs.evolve(WHOLE, think_cap=5.0), b'{"messages":[{"role":"user","content":"Hi"}]}')
    session = conversation_of(opening, [UserTurn("a", think=1800.0), UserTurn("b", think=2.5)], words, random.Random(1))
    assert session.turn(None).think == 0
    assert [session.turn(answered("Hi.")).think for _ in range(2)] == [5.0, 2.5]
    drawn = conversations(turns=Turns(constant_length(2)), think=ThinkTime(constant_length(1500))).session(
        1, random.Random(1)
    )
    assert drawn.turn(None).think == 0
    assert drawn.turn(answered("Hi.")).think == 1.5


def test_a_trace_sets_the_lengths_and_times_of_its_turns(tmp_path):
    """BurstGPT's Session ID (https://github.com/HPMLL/BurstGPT)."""
    file = tmp_path / "burst.csv"
    file.write_text(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "0,17,3.5,GPT-4,100,20,120,Conversation log\n"
        "1,,1,GPT-4,50,5,55,API log\n"
        "10,17,2,GPT-4,150,30,180,Conversation log\n"
        "11,17,2,GPT-4,40,7,47,Conversation log\n"
    )
    trace = load_trace(file)
    made = MadeRequests(WHOLE, SourceSetting(trace=trace))
    source, rng = TracedConversations(trace, 2.0, made, words), random.Random(1)
    session = source.session(0, rng)
    first = session.turn(None)
    assert (first.asked_input, first.asked_output) == (100, 20)
    assert session.unbegun == 2
    second, third = session.turn(answered("One.")), session.turn(answered("Two."))
    said = [msgspec.json.decode(turn.body) for turn in (second, third)]
    assert [body["messages"][-1]["content"] for body in said] == ["30 tokens", "40 tokens"]
    assert [body["max_completion_tokens"] for body in said] == [30, 7]
    assert [turn.think for turn in (second, third)] == [3.25, 0.0]
    alone = source.session(1, rng)
    assert alone.turn(None).asked_input == 50
    assert alone.unbegun == 0


def test_texts_of_the_scenario_are_what_the_user_says():
    texts = ("Rome?", "And Oslo?", "Thanks.")
    session = conversations(turns=Turns(constant_length(3), texts)).session(1, random.Random(1))
    *_, last = held(session, answered("Warm."), answered("Cold."))
    assert [message["content"] for message in last if message["role"] == "user"] == list(texts)


def test_a_server_may_keep_the_turns_itself():
    request = attrs.evolve(WHOLE, api="responses", history="server", turns=Turns(constant_length(3)))
    session = MadeConversations(request, MadeRequests(request, SourceSetting()), words).session(1, random.Random(1))
    assert msgspec.json.decode(session.turn(None).body)["store"] is True
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}]
    for id in ("resp_1", "resp_2"):
        answer = {"id": id, "object": "response", "status": "completed", "output": output}
        body = msgspec.json.decode(session.turn(msgspec.json.encode(answer)).body)
        assert (body["previous_response_id"], len(body["input"])) == (id, 1)


SPLIT = {
    "chat": (
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "x", "content": "21"},
            {"role": "assistant", "content": "warm"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "cold"},
        ],
        2,
    ),
    "messages": (
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "x"}, {"type": "text", "text": "b"}],
            },
        ],
        1,
    ),
    "responses": (
        [
            {"role": "user", "content": "a"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "x", "output": "21"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
        ],
        1,
    ),
    "gemini": (
        [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
            {"role": "model", "parts": [{"text": "x"}]},
            {"role": "user", "parts": [{"text": "b"}]},
        ],
        1,
    ),
    "converse": (
        [
            {"role": "assistant", "content": [{"text": "How can I help?"}]},
            {"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "x", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "x", "content": []}}]},
            {"role": "assistant", "content": [{"text": "x"}]},
            {"role": "user", "content": [{"text": "b"}]},
        ],
        1,
    ),
    "interactions": (
        [
            {"type": "user_input", "content": [{"type": "text", "text": "a"}]},
            {"type": "function_call", "id": "x", "name": "f", "arguments": {}},
            {"type": "function_result", "call_id": "x", "name": "f", "result": "21"},
            {"type": "model_output", "content": [{"type": "text", "text": "x"}]},
            {"type": "user_input", "content": [{"type": "text", "text": "b"}]},
        ],
        1,
    ),
}


def test_a_recorded_conversation_has_the_words_of_its_user():
    for api, (messages, opens) in SPLIT.items():
        member = CODECS[api].wire.conversation.member
        opening, following = split_turns(api, msgspec.json.encode({"x": 1, member: messages}))
        value = msgspec.json.decode(opening)
        first = next(n for n, one in enumerate(messages) if one.get("role") != "assistant")
        assert value == {"x": 1, member: messages[first : first + opens]}, api
        said = [msgspec.json.decode(b"[%b]" % b",".join(turn.api_messages)) for turn in following]
        assert b'"b"' in following[0].api_messages[0], api
        assert b"21" not in following[0].api_messages[0], api
        assert [len(run) for run in said] == ([2] if api == "chat" else [1]), api
    for body in (b"no", b"{}", b'{"messages": 1}', b'{"messages": [1]}', b'{"messages": []}'):
        with pytest.raises(CannotContinue):
            split_turns("chat", body)
