"""Excerpts of two requests around their first difference: 200 characters, without credentials."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.features.prompt_caches.differences import first_difference
from gateway.features.prompt_caches.texts import EXCERPT, Excerpt, Excerpts, excerpts_of, shared_start
from streams.events import Api
from tests.support.cached_prompts import read
from tests.support.each_row import each_row

LONG = "Answer as an engineer would, in full sentences and with examples. " * 20


def excerpts(api: Api, old: dict[str, Any], new: dict[str, Any], mask: Any = str) -> Excerpts | None:
    bodies = json.dumps(old).encode(), json.dumps(new).encode()
    before, after = (read(api, body) for body in bodies)
    found = first_difference(before, after)
    assert found is not None
    return excerpts_of(bodies, (before, after), found, mask)


def messages(system: Any = LONG, *said: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said or ("Hello",))]
    return {"system": system, "messages": turns, **more}


def whole(part: Excerpt | None) -> str:
    return part.before + part.changed + part.after


def test_the_old_text_is_next_to_the_new_one():
    found = excerpts("messages", messages(f"{LONG}It is 09:31:08. {LONG}"), messages(f"{LONG}It is 11:02:59. {LONG}"))
    assert found.path == "system"
    assert found.old is not None
    assert (found.old.changed, found.new.changed) == ("09:31:08", "11:02:59")
    assert found.old.before == found.new.before
    assert found.new.before.endswith("examples. It is ")
    assert found.new.after.startswith(". Answer as")
    assert len(whole(found.old)) == len(whole(found.new)) == EXCERPT
    assert not found.new.is_start
    assert not found.new.is_end


CASES: list[tuple[Api, dict[str, Any], dict[str, Any], str, str, str]] = [
    ("chat", {"messages": [{"role": "system", "content": "a1b"}, {"role": "user", "content": "x"}]},
     {"messages": [{"role": "system", "content": "a2b"}, {"role": "user", "content": "x"}]}, "messages[0]", "1", "2"),
    ("responses", {"instructions": "a1b", "input": "x"}, {"instructions": "a2b", "input": "x"}, "instructions", "1",
     "2"),
    ("messages", messages("s", "one", "two", "three"), messages("s", "one", "2", "three"), "messages[1]", "two", "2"),
    ("gemini", {"contents": [{"role": "user", "parts": [{"text": "a1b"}]}]},
     {"contents": [{"role": "user", "parts": [{"text": "a2b"}]}]}, "contents[0].parts[0]", "1", "2"),
    ("converse", {"messages": [{"role": "user", "content": [{"text": "a1b"}]}]},
     {"messages": [{"role": "user", "content": [{"text": "a2b"}]}]}, "messages[0].content[0]", "1", "2"),
    ("messages", messages(tools=[{"name": "ls", "description": "lists", "input_schema": {}}]),
     messages(tools=[{"name": "ls", "description": "lists all", "input_schema": {}}]), "tools[0].description", "",
     " all"),
]  # fmt: skip


@each_row(("api", "old", "new", "path", "before", "after"), CASES)
def test_every_api_has_its_path_and_text(
    api: Api, old: dict[str, Any], new: dict[str, Any], path: str, before: str, after: str
):
    found = excerpts(api, old, new)
    assert found.path == path
    assert found.old is not None
    assert (found.old.changed, found.new.changed) == (before, after)


def test_an_added_tool_has_no_earlier_text():
    tools = [{"name": name, "description": f"does {name}", "input_schema": {}} for name in ("ls", "cat")]
    found = excerpts("messages", messages(tools=tools[:1]), messages(tools=tools))
    assert '"does cat"' in whole(found.new)


def test_a_respelled_schema_shows_its_json():
    old = {"name": "ls", "description": "d", "input_schema": {"a": 1, "b": 2}}
    new = {"name": "ls", "description": "d", "input_schema": {"b": 2, "a": 1}}
    found = excerpts("messages", messages(tools=[old]), messages(tools=[new]))
    assert whole(found.old) == '{"a":1,"b":2}'
    assert whole(found.new) == '{"b":2,"a":1}'


@each_row("distance", [0, 40, 79, 80, 81, 300])
def test_a_credential_near_the_difference_is_masked_also_at_the_edge_of_the_excerpt(distance: int):
    secret = "sk-0123456789abcdefghij"

    def mask(text: str) -> str:
        return text.replace(secret, "[redacted]")

    for system in (f"{{}}{'.' * distance}{secret}{LONG}", f"{LONG}{secret}{'.' * distance}{{}}{LONG}"):
        found = excerpts("messages", messages(system.format("old")), messages(system.format("new")), mask)
        assert found is not None
        for part in (found.old, found.new):
            shown = whole(part)
            assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 8)), shown


def test_a_difference_inside_a_credential_shows_neither():
    found = excerpts(
        "messages", messages("key sk-old-secret here"), messages("key sk-new-secret here"),
        lambda text: text.replace("sk-old-secret", "[redacted]").replace("sk-new-secret", "[redacted]"),
    )  # fmt: skip
    assert whole(found.old) == whole(found.new) == "key [redacted] here"


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_the_shared_start_is_exact(one: str, other: str):
    start = shared_start(one, other)
    assert one[:start] == other[:start]
    assert start == min(len(one), len(other)) or one[start] != other[start]


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_an_excerpt_is_never_longer_than_promised(start: str, one: str, other: str, end: str):
    if one == other:
        return
    found = excerpts("messages", messages(f"x{start}{one}{end}"), messages(f"x{start}{other}{end}"))
    assert found is not None
    for part in (found.old, found.new):
        assert len(whole(part)) <= EXCERPT
