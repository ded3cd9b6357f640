"""Cache marks that the gateway adds (https://platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

import json
from itertools import pairwise
from typing import Any

from providers.members.cache_marks import add_cache_marks, add_top_level_mark, has_answers, has_cache_marks
from tests.support.cases import case
from tests.support.sent_blocks import content_forms, sent_blocks

MARK = {"type": "ephemeral"}
POINT = {"cachePoint": {"type": "default"}}


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def turn(number: int) -> list[dict[str, Any]]:
    """Return an answer that alternates text and calls, and its results."""
    calls = [{"type": "tool_use", "id": f"c{number}-{n}", "name": "f", "input": {}} for n in range(8)]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls]
    answer = [block for call in calls for block in (text("I look."), call)]
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": results}]


def test_tools_instructions_and_the_last_message_are_marked():
    tools = [{"name": "a"}, {"name": "b"}, {"name": "c", "defer_loading": True}]
    messages = [{"role": "user", "content": "Hi"}]
    marked, count = add_cache_marks("messages", body(tools=tools, system="Be brief.", messages=messages), "5m")
    assert count == 3
    assert json.loads(marked) == {
        "tools": [{"name": "a"}, {"name": "b", "cache_control": MARK}, {"name": "c", "defer_loading": True}],
        "system": [text("Be brief.", cache_control=MARK)],
        "messages": [{"role": "user", "content": [text("Hi", cache_control=MARK)]}],
    }


def test_an_hour_is_written_and_five_minutes_are_the_default():
    marked, _ = add_cache_marks("messages", body(system="s", messages=[]), "1h")
    assert json.loads(marked)["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    marked, _ = add_cache_marks("converse", body(system=[{"text": "s"}], messages=[]), "1h")
    assert json.loads(marked)["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}


def test_converse_marks_follow_the_marked_block():
    tools = {"tools": [{"toolSpec": {"name": "a"}}], "toolChoice": {"auto": {}}}
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    sent = body(toolConfig=tools, system=[{"text": "s"}], messages=messages)
    marked, count = add_cache_marks("converse", sent, "5m")
    assert count == 3
    assert json.loads(marked) == {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}, POINT], "toolChoice": {"auto": {}}},
        "system": [{"text": "s"}, POINT],
        "messages": [{"role": "user", "content": [{"text": "Hi"}, POINT]}],
    }
    marked, count = add_cache_marks("converse", sent, "5m", ("system", "messages"))
    assert count == 2
    assert json.loads(marked)["toolConfig"] == tools


def test_empty_texts_and_reasoning_take_no_mark():
    for content, expected in [
        ("", 0),
        ([text("")], 0),
        ([text("Hi"), text("")], 1),
        ([{"type": "thinking", "thinking": "x", "signature": "s"}], 0),
    ]:
        with case((content, expected)):
            sent = body(messages=[{"role": "user", "content": content}])
            marked, count = add_cache_marks("messages", sent, "5m")
            assert count == expected
            assert expected or marked == sent


def test_a_distant_earlier_boundary_is_marked_too():
    opening = {"role": "user", "content": "Go"}
    near = body(messages=[opening, {"role": "assistant", "content": "Well"}, {"role": "user", "content": "On"}])
    assert add_cache_marks("messages", near, "5m")[1] == 1
    marked, count = add_cache_marks("messages", body(messages=[opening, *turn(1), *turn(2)]), "5m")
    assert count == 2
    found = json.loads(marked)["messages"]
    assert [at for at, one in enumerate(found) if "cache_control" in json.dumps(one)] == [2, 4]
    assert found[2]["content"][-1]["cache_control"] == MARK


def test_many_parallel_calls_take_one_position():
    calls = [{"type": "tool_use", "id": f"c{n}", "name": "f", "input": {}} for n in range(40)]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls]
    messages = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": calls}]
    sent = body(messages=[*messages, {"role": "user", "content": results}])
    assert add_cache_marks("messages", sent, "5m")[1] == 1


def test_there_are_never_more_than_four_marks():
    sent = body(tools=[{"name": "a"}], system="s", messages=[{"role": "user", "content": "Go"}, *turn(1), *turn(2)])
    marked, count = add_cache_marks("messages", sent, "5m")
    assert count == marked.count(b'"cache_control"') == 4


def test_a_prefilled_answer_takes_no_mark():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]
    marked, count = add_cache_marks("messages", body(messages=messages), "5m")
    assert count == 1
    assert json.loads(marked)["messages"][1] == messages[1]


def test_the_top_level_mark_follows_all_other_bytes():
    sent = b'{"model": "m",  "messages":[{"role":"user","content":"\\u00e9 1.0"}]}'
    marked = add_top_level_mark(sent, "1h")
    assert marked.endswith(b',"cache_control":{"type":"ephemeral","ttl":"1h"}}')
    assert b'[{"role":"user","content":"\\u00e9 1.0"}]' in marked


def test_marks_of_the_client_are_found():
    assert has_cache_marks("messages", b'{"system":[{"type":"text","text":"s","cache_control" :{}}]}')
    assert has_cache_marks("converse", b'{"system":[{"cachePoint":{"type":"default"}}]}')
    assert not has_cache_marks("messages", body(messages=[{"role": "user", "content": 'use "cache_control": {}'}]))
    assert not has_cache_marks("chat", b'{"cache_control":{}}')


def test_earlier_answers_are_found():
    assert has_answers("messages", body(messages=[{"role": "assistant", "content": "x"}]))
    assert not has_answers("messages", body(messages=[{"role": "user", "content": '"role": "assistant"'}]))


def test_a_message_has_the_same_form_in_each_turn():
    """A marked text becomes a list. It stays one when the mark moves on."""
    said = [{"role": ("user", "assistant")[at % 2], "content": f"Part {at}."} for at in range(9)]
    bodies = [
        add_cache_marks("messages", json.dumps({"messages": said[:end]}).encode(), "5m") for end in range(1, 10, 2)
    ]
    assert [marked for _, marked in bodies] == [1] * 5
    for (earlier, _), (later, _) in pairwise(bodies):
        forms, more = content_forms("messages", earlier), content_forms("messages", later)
        assert more[: len(forms)] == forms
        blocks = sent_blocks("messages", earlier)
        assert sent_blocks("messages", later)[: len(blocks)] == blocks
