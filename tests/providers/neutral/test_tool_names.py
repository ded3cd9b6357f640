"""Tool names that every API accepts, and the client's own in the answer (BerriAI/litellm#13609 shows a refusal)."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from providers.neutral.request import Message, NativeTool, Request, TextPart, Tool, ToolCallPart, ToolChoice
from providers.neutral.tool_names import (
    ToolNaming,
    original_id,
    replacement_id,
    restore_name,
    short_call_id,
    short_name,
    shorten_names,
)
from streams.events import TextDelta, ToolCallStart

LONG = "mcp__a_server_with_a_long_name__" + "tool." * 20


@given(st.text())
def test_any_name_becomes_one_that_every_api_accepts(name):
    short = short_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", short)
    assert short_name(short) == short
    assert short == short_name(name)


GEMINI = ToolNaming(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}"), ("default_api:", "default_api."))


@given(st.text())
def test_an_api_may_accept_other_names(name):
    short = short_name(name, GEMINI)
    assert GEMINI.fits.fullmatch(short)
    assert short_name(short, GEMINI) == short
    assert (short == name) is (GEMINI.fits.fullmatch(name) is not None)


def test_a_call_with_a_models_name_prefix_is_a_call_of_the_tool():
    """Gemini's own errors name tools so (anomalyco/opencode#4832)."""
    call = Request("chat", "m", (), tools=(Tool("f"), Tool("1 g"), Tool("default_api.f")))
    changed, names = shorten_names(call, GEMINI)
    short = changed.tools[1].name
    for said, meant in (("default_api:f", "f"), ("default_api.f", "default_api.f"), (short, "1 g"),
                        (f"default_api:{short}", "1 g"), ("default_api:h", "default_api:h"), ("f", "f")):  # fmt: skip
        assert restore_name(ToolCallStart(0, "x", said), names).name == meant, said


def test_names_that_differ_late_stay_different():
    assert short_name(LONG + "a") != short_name(LONG + "b")


@given(st.text(st.characters(), max_size=200), st.text(st.characters(), max_size=200))
def test_ids_of_calls_fit_and_stay_apart(id, other):
    short = short_call_id(id)
    assert len(short) <= 64
    assert short_call_id(short) == short
    assert (short == id) is (len(id) <= 64)
    assert (short == short_call_id(other)) is (id == other)


@given(st.text(st.characters(), max_size=80), st.sampled_from(["toolu_", "tooluse_"]))
@example("0" * 39, "toolu_")
def test_a_substitute_contains_a_short_id(id, prefix):
    made = replacement_id(prefix, id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", made)
    assert made == replacement_id(prefix, id)
    room = (64 - len(f"{prefix}tg1_")) * 3 // 4
    assert original_id(made) == (id if 0 < len(id.encode("utf-8", "surrogatepass")) <= room else made)


@given(st.text(max_size=20) | st.from_regex(r"[a-z]{0,9}_tg1_[A-Za-z0-9_=+-]{0,30}", fullmatch=True))
def test_an_id_of_another_maker_stays(id):
    assert original_id(id) == id or replacement_id(id.partition("tg1_")[0], original_id(id)) == id


def test_a_call_without_long_names_stays_unchanged():
    call = Request("chat", "m", (Message("user", (TextPart("hi"),)),), tools=(Tool("f"),))
    same, names = shorten_names(call)
    assert same is call
    assert names == {}


def test_tools_history_and_choice_change_together_and_the_answer_changes_back():
    native = NativeTool("messages", "bash_20250124", {"name": "bash"})
    call = Request(
        "messages",
        "m",
        (Message("assistant", (TextPart("x"), ToolCallPart("c", LONG, "{}"), ToolCallPart("d", "gone.tool", "{}"))),),
        tools=(Tool(LONG), Tool("f"), native),
        tool_choice=ToolChoice("tool", LONG, allowed=(LONG, "f")),
    )
    changed, names = shorten_names(call)
    short = short_name(LONG)
    assert [tool.name for tool in changed.tools if isinstance(tool, Tool)] == [short, "f"]
    assert changed.tools[2] is native
    assert changed.messages[0].parts[1].name == short
    assert changed.messages[0].parts[2].name == short_name("gone.tool")
    assert changed.tool_choice == ToolChoice("tool", short, allowed=(short, "f"))
    assert restore_name(ToolCallStart(0, "c", short), names) == ToolCallStart(0, "c", LONG)
    assert restore_name(ToolCallStart(0, "c", "f"), names) == ToolCallStart(0, "c", "f")
    assert restore_name(TextDelta(0, short), names) == TextDelta(0, short)
