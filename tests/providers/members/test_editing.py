"""Edits of requests by the members that an operator sets."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from configfile.wording import Wrong
from providers.members.editing import apply_level
from providers.members.level import MemberLevel, combine, compile_level
from providers.neutral.draft import Draft
from providers.neutral.levels import LEVELS
from streams.events import APIS
from tests.support.cases import case
from tests.support.each_row import each_row


def level(**members: Any) -> MemberLevel:
    """Return the level with these settings, which have no mistakes."""

    def report(path: tuple[str, ...], wrong: Wrong) -> None:
        raise AssertionError((path, wrong.words))

    return compile_level(
        members.get("default", {}), members.get("set", {}), members.get("max", {}), tuple(members.get("drop", ())),
        members.get("before"), members.get("after"), report,
    )  # fmt: skip


def edit_body(wire: str, body: Mapping[str, Any], applied: MemberLevel | None = None, **members: Any) -> Any:
    """Return ``body`` with the members of a level."""
    draft = Draft.of(json.dumps(body).encode())
    apply_level(applied or level(**members), draft, wire)
    return json.loads(draft.encode())


def test_a_member():
    for wire, body, members, after in [
        # Defaults
        ("chat", {}, {"default": {"temperature": 0.2}}, {"temperature": 0.2}),
        ("chat", {"temperature": None}, {"default": {"temperature": 0.2}}, {"temperature": 0.2}),
        ("chat", {"temperature": 0}, {"default": {"temperature": 0.2}}, {"temperature": 0}),
        ("chat", {"store": False}, {"default": {"store": True}}, {"store": False}),
        ("chat", {"max_tokens": 5}, {"default": {"max_tokens": 9}}, {"max_tokens": 5}),
        ("chat", {"metadata": {"a": "1", "b": None}}, {"default": {"metadata": {"a": "2", "b": "2", "c": "2"}}},
         {"metadata": {"a": "1", "b": "2", "c": "2"}}),
        ("responses", {"text": {"format": {"type": "text"}}}, {"default": {"responses.text.verbosity": "low"}},
         {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
        ("chat", {}, {"default": {"responses.text.verbosity": "low"}}, {}),
        ("gemini", {"generation_config": {"topP": 1}}, {"default": {"temperature": 0.2}},
         {"generation_config": {"topP": 1, "temperature": 0.2}}),
        ("messages", {"thinking": {"type": "disabled"}}, {"default": {"reasoning_effort": "high"}},
         {"thinking": {"type": "disabled"}}),
        ("messages", {}, {"default": {"reasoning_effort": "minimal"}}, {"output_config": {"effort": "low"}}),
        ("messages", {}, {"default": {"reasoning_effort": "none"}}, {"thinking": {"type": "disabled"}}),
        ("gemini", {}, {"default": {"reasoning_effort": "none"}},
         {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        ("messages", {"max_tokens": 9000}, {"default": {"thinking_budget": 4096}},
         {"max_tokens": 9000, "thinking": {"budget_tokens": 4096, "type": "enabled"}}),
        # Sets
        ("chat", {"max_tokens": 5, "max_completion_tokens": 7}, {"set": {"max_tokens": 9}},
         {"max_tokens": 9, "max_completion_tokens": 9}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 30000}, "max_tokens": 40000},
         {"set": {"reasoning_effort": "low"}},
         {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 40000,
          "output_config": {"effort": "low"}}),
        ("converse", {}, {"set": {"max_tokens": 9}}, {"inferenceConfig": {"maxTokens": 9}}),
        ("chat", {"tools": [{"a": 1}, {}]}, {"set": {"chat.tool_choice": "auto"}},
         {"tools": [{"a": 1}, {}], "tool_choice": "auto"}),
        # Maxima
        ("chat", {"temperature": 1.5}, {"max": {"temperature": 1}}, {"temperature": 1}),
        ("chat", {}, {"max": {"temperature": 1}}, {}),
        ("chat", {"max_tokens": "9999"}, {"max": {"max_tokens": 10}}, {"max_tokens": 10}),
        ("responses", {}, {"max": {"max_tokens": 10}}, {"max_output_tokens": 10}),
        ("responses", {"max_output_tokens": None}, {"max": {"max_tokens": 10}}, {"max_output_tokens": 10}),
        ("chat", {"reasoning_effort": "xhigh"}, {"max": {"reasoning_effort": "medium"}},
         {"reasoning_effort": "medium"}),
        ("chat", {"reasoning_effort": "ultra"}, {"max": {"reasoning_effort": "medium"}},
         {"reasoning_effort": "medium"}),
        ("chat", {"reasoning_effort": "low"}, {"max": {"reasoning_effort": "medium"}}, {"reasoning_effort": "low"}),
        ("chat", {"reasoning": {"effort": "high", "max_tokens": 9000}}, {"max": {"reasoning_effort": "medium"}},
         {"reasoning": {"effort": "medium", "max_tokens": 8192}}),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, {"max": {"thinking_budget": 100}},
         {"generationConfig": {"thinkingConfig": {"thinkingBudget": 100}}}),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}},
         {"max": {"reasoning_effort": "low"}}, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 30000}, "max_tokens": 40000},
         {"max": {"reasoning_effort": "high"}},
         {"thinking": {"type": "enabled", "budget_tokens": 24000}, "max_tokens": 40000}),
        ("messages", {"thinking": {"type": "adaptive"}}, {"max": {"reasoning_effort": "medium"}},
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}),
        ("messages", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
         {"max": {"reasoning_effort": "none"}}, {"thinking": {"type": "disabled"}}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 30000}, "max_tokens": 40000},
         {"max": {"max_tokens": 4000}}, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 30000}, "max_tokens": 40000},
         {"max": {"max_tokens": 1000}}, {"thinking": {"type": "disabled"}, "max_tokens": 1000}),
        ("converse", {"additionalModelRequestFields": {"max_tokens": 99}}, {"max": {"max_tokens": 10}},
         {"additionalModelRequestFields": {"max_tokens": 10}}),
        ("responses", {"text": {"verbosity": "high"}}, {"max": {"responses.max_tool_calls": 3}},
         {"text": {"verbosity": "high"}}),
        # Drops
        ("chat", {"user": "u", "x": 1}, {"drop": ["user"]}, {"x": 1}),
        ("messages", {"metadata": {"user_id": "u"}, "x": 1}, {"drop": ["user"]}, {"x": 1}),
        ("chat", {"tools": [1], "tool_choice": "auto", "x": 1}, {"drop": ["tools"]}, {"x": 1}),
        ("converse", {"toolConfig": {}, "additionalModelRequestFields": {"tools": [1], "x": 1}}, {"drop": ["tools"]},
         {"additionalModelRequestFields": {"x": 1}}),
        ("gemini", {"tools": [{"functionDeclarations": [{"name": "f", "description": "d"}]}]},
         {"drop": ["tools[].description"]}, {"tools": [{"functionDeclarations": [{"name": "f"}]}]}),
        ("chat", {"temperature": 1}, {"set": {"temperature": 0}, "drop": ["chat.temperature"]}, {}),
        ("embeddings", {"input": "x"}, {"default": {"embeddings.dimensions": 64}},
         {"input": "x", "dimensions": 64}),
        ("completions", {"prompt": "x", "max_tokens": 99}, {"max": {"max_tokens": 10}},
         {"prompt": "x", "max_tokens": 10}),
    ]:  # fmt: skip
        with case((wire, body, members, after)):
            assert edit_body(wire, body, **members) == after


def test_the_outer_default_and_the_inner_set_win_and_the_least_maximum_applies():
    outer = level(
        default={"seed": 1, "metadata": {"a": "o"}}, set={"top_p": 0.1}, max={"max_tokens": 10}, drop=["user"]
    )
    inner = level(
        default={"seed": 2, "metadata": {"a": "i", "b": "i"}}, set={"top_p": 0.2, "user": "x"}, max={"max_tokens": 20}
    )
    found = edit_body("chat", {}, combine((outer, None, inner)))
    assert found == {"seed": 1, "metadata": {"a": "o", "b": "i"}, "top_p": 0.2, "max_completion_tokens": 10}


def test_reports_show_short_values_only():
    draft = Draft.of(b'{"user": "u"}')
    secret = "a text of an operator"
    found = apply_level(
        level(default={"metadata": {"a": secret}, "seed": 3}, set={"service_tier": "flex"}, drop=["user"]),
        draft,
        "chat",
    )
    texts = [edit.path + edit.form for edit in found.edits]
    assert texts == ["metadata=...", "seed=3", "service_tier=flex", "user"]
    assert {edit.why for edit in found.edits} == {"operator"}
    assert [edit.path for edit in found.edits if edit.lost] == ["user"]


@each_row(
    ("settings", "place"),
    [
        ({"set": {"temperature": 1}, "drop": ["temperature"]}, ("set", "temperature")),
        ({"max": {"user": "x"}}, ("max", "user")),
        ({"max": {"store": True}}, ("max", "store")),
        ({"max": {"reasoning_effort": "most"}}, ("max", "reasoning_effort")),
        ({"max": {"max_tokens": 0}}, ("max", "max_tokens")),
        ({"max": {"max_tokens": -1}}, ("max", "max_tokens")),
        ({"default": {"nothing_known": 1}}, ("default", "nothing_known")),
        ({"drop": ["user", "usr"]}, ("drop", "1")),
    ],
)
def test_a_mistake_is_reported_at_its_place(settings, place):
    found: list[tuple[str, ...]] = []
    compile_level(
        settings.get("default", {}), settings.get("set", {}), settings.get("max", {}), tuple(settings.get("drop", ())),
        None, None, lambda path, wrong: found.append(path),
    )  # fmt: skip
    assert found == [place]


BODIES = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(0, 10**6) | st.none(),
        "max_completion_tokens": st.integers(0, 10**6),
        "max_output_tokens": st.integers(0, 10**6),
        "temperature": st.floats(0, 2) | st.none(),
        "reasoning_effort": st.sampled_from(LEVELS),
        "reasoning": st.fixed_dictionaries({}, optional={"effort": st.sampled_from(LEVELS)}),
        "output_config": st.fixed_dictionaries({}, optional={"effort": st.sampled_from(LEVELS[2:])}),
        "thinking": st.fixed_dictionaries(
            {"type": st.just("enabled"), "budget_tokens": st.integers(1024, 10**5)}
        ) | st.just({"type": "adaptive"}),
        "generationConfig": st.fixed_dictionaries({}, optional={"maxOutputTokens": st.integers(1, 10**6)}),
    },
)  # fmt: skip


@given(st.sampled_from(APIS), BODIES, st.integers(1, 10**5), st.sampled_from(LEVELS))
def test_no_request_exceeds_a_maximum_and_a_second_run_changes_nothing(wire, body, most, effort):
    limits = level(max={"max_tokens": most, "reasoning_effort": effort})
    once = edit_body(wire, body, limits)
    assert edit_body(wire, once, limits) == once
    members = {path for one in limits.maxima for path in one.member.paths_in(wire)}
    for path in members:
        value: Any = once
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int):
            assert value <= most
        elif isinstance(value, str):
            assert LEVELS.index(value) <= max(LEVELS.index(effort), LEVELS.index("low"))
    if wire == "messages" and once.get("thinking", {}).get("type") == "enabled":
        assert 1024 <= once["thinking"]["budget_tokens"] < once["max_tokens"]


def test_a_server_s_own_limit_of_tokens_is_also_lowered_and_replaces_no_limit():
    for name in ("n_predict", "num_predict", "max_new_tokens"):
        for use in ("max", "set"):
            assert edit_body("chat", {name: -1}, **{use: {"max_tokens": 100}}) == {
                name: 100, "max_completion_tokens": 100,
            }  # fmt: skip
        found = edit_body("chat", {name: 7, "max_tokens": 900}, max={"max_tokens": 100})
        assert found == {name: 7, "max_tokens": 100}


def test_a_budget_of_thinking_tokens_is_added_only_where_the_api_has_one():
    """OpenAI's Chat rejects OpenRouter's ``reasoning``."""
    assert edit_body("chat", {"messages": []}, default={"thinking_budget": 2048}) == {"messages": []}
    own = {"reasoning": {"max_tokens": 9000}}
    assert edit_body("chat", own, max={"thinking_budget": 2048}) == {"reasoning": {"max_tokens": 2048}}
    for wide, lowered in (
        ({"thinking": {"budget_tokens": 50_000}}, {"thinking": {"budget_tokens": 2048}}),  # Anthropic
        ({"thinking_budget": 50_000}, {"thinking_budget": 2048}),  # Alibaba
        *(({"extra_body": {"google": {"thinking_config": {"thinking_budget": budget}}}},
           {"extra_body": {"google": {"thinking_config": {"thinking_budget": 2048}}}}) for budget in (50_000, -1)),
    ):  # fmt: skip
        assert edit_body("chat", wide, max={"thinking_budget": 2048}) == lowered
        assert edit_body("chat", wide, max={"reasoning_effort": "low"}) == lowered
    found = edit_body("messages", {"max_tokens": 3000}, default={"thinking_budget": 8000})
    assert found == {"max_tokens": 3000, "thinking": {"budget_tokens": 1500, "type": "enabled"}}
