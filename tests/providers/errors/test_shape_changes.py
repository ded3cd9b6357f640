"""Changes into other shapes take time in proportion to the body, and accept any JSON: a client may send both."""

from typing import Any

from providers.errors.other_shapes import OTHER_SHAPES
from tests.support.each_row import each_row
from tests.support.growth import Work, assert_steps_grow_linearly

RESULT = {"toolResult": {"toolUseId": "1", "content": [{"text": "a"}]}}
TEXT, BLANK = {"type": "text", "text": "a"}, {"type": "text", "text": " ", "cache_control": {"type": "ephemeral"}}
USE = {"type": "tool_use", "id": "1 2", "name": "f", "input": {}}
CALL = {"id": "c" * 90, "type": "function", "function": {"name": "f" * 90, "arguments": "{}"}}


def turn(role: Any, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def large_bodies(n: int) -> list[dict[str, Any]]:
    lists = [
        [turn("user", "a" * 64) for _ in range(n)],
        [turn("user", [TEXT]) for _ in range(n)],
        [turn("system", "a" * 64) for _ in range(n)],
        [turn("user", [*(dict(RESULT) for _ in range(n)), *({"text": str(at)} for at in range(n))])],
        [turn("assistant", [USE, BLANK] * n), turn("user", "b")],
        [turn("assistant", None, tool_calls=[CALL] * n), turn("tool", " ", tool_call_id="c" * 90)],
        [turn("tool", "a"), turn("user", "b")] * n,
    ]
    parts = [{"functionResponse": {"name": "f"}}, {"text": "a"}]
    return [
        *({"messages": messages} for messages in lists),
        *({"input": messages} for messages in lists),
        {"contents": [{"role": "user", "parts": parts} for _ in range(n)], "system_instruction": {"parts": parts * n}},
    ]


@each_row("path", OTHER_SHAPES)
def test_the_steps_of_a_change_grow_linearly(path):
    shape = OTHER_SHAPES[path]

    def change_all(n: int) -> Work:
        bodies = large_bodies(n)
        return lambda: [shape.change(body) for body in bodies]

    assert_steps_grow_linearly(change_all)


ODD: list[Any] = [
    turn("user", ["a", BLANK]), turn("user", [[], BLANK]), turn("assistant", [3, BLANK]),
    turn([], [RESULT, {"text": "a"}]), turn("user", None), turn("user", 3), turn("user", [None]), turn({}, "a"),
    {"role": "assistant", "tool_calls": [3]}, None, "a", [],
]  # fmt: skip


@each_row("path", OTHER_SHAPES)
def test_odd_conversations_are_changed_once(path):
    shape = OTHER_SHAPES[path]
    for name in ("messages", "input", "contents"):
        for message in ODD:
            body = {name: [message, message]}
            changed = shape.change(body)
            left = {key: value for key, value in (body | changed).items() if value is not None}
            assert shape.change(left) == {}
