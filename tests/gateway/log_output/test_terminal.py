"""The log for people: a line for each exchange, a second one only for trouble."""

import io
import os
import pty
import re
import unicodedata
from typing import Any

import click
import pytest

from gateway.commands.terminal import echo_styled
from gateway.log_output.terminal import NARROWEST, WIDEST, Printer
from gateway.logs.masking import Mask

GOOD: dict[str, Any] = {
    "event": "exchange", "at": "2026-11-21T08:56:23Z", "request_id": "req_1", "api": "messages", "model": "fast",
    "target": "openai/gpt-4o-mini", "provider_api": "chat", "lane": "hub", "stream": True, "status": 200,
    "ended": "complete", "reason": "stop", "first_byte_ms": 3.0, "duration_ms": 2314.2, "input_tokens": 1234,
    "output_tokens": 567, "usage_complete": True, "attempts": 1,
}  # fmt: skip
LIMITED = {**GOOD, "ended": "upstream_error", "status": 429, "error": "rate_limited", "message": "slow\n down, please"}
CUT = {**GOOD, "ended": "upstream_error", "error": "upstream", "message": "it broke", "usage_estimated": True}
LEFT = {**GOOD, "ended": "client_disconnected", "status": 499}
CRASHED = {**GOOD, "ended": "internal_error", "status": 500, "error": "internal", "message": "a mistake"}
SHUT_DOWN = {**GOOD, "ended": "shutdown", "status": 503, "error": "overloaded"}
REFUSED = {
    name: value
    for name, value in {**GOOD, "ended": "refused", "status": 404, "error": "not_found", "message": "no fsat"}.items()
    if name not in ("target", "provider_api", "lane", "input_tokens", "output_tokens", "reason")
}
UNKNOWN = {**{name: value for name, value in REFUSED.items() if name != "model"}, "api": "none"}
ALL = [GOOD, LIMITED, CUT, LEFT, CRASHED, SHUT_DOWN, REFUSED, UNKNOWN]
LONG = {
    **GOOD, "api": "responses", "provider_api": "messages", "model": "a-name-of-a-model-that-is-long-" * 5,
    "target": "provider/" + "another-long-name-" * 9, "ended": "upstream_error", "input_tokens": 1234567,
    "output_tokens": 123456, "usage_estimated": True, "duration_ms": 1234567.0, "status": 502, "message": "x",
    "error": "upstream",
}  # fmt: skip
ESCAPE = re.compile(r"\x1b\[\d*m")


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    """Set the time zone to UTC, because lines show the local time."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def show(line: dict[str, Any], columns: int | None = 100, colour: bool = False, mask: Mask | None = None) -> list[str]:
    return Printer(colour, lambda: columns).exchange(line, mask or Mask()).split("\n")


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def test_the_most_important_fields_are_in_one_line():
    (line,) = show(GOOD)
    expected = ["08:56:23", "200", "messages→chat", "fast", "→", "openai/gpt-4o-mini", "1234→567", "2.31s", "stop"]
    assert line.split() == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LIMITED, "provider failed"), (CUT, "cut off"), (LEFT, "client left"), (CRASHED, "internal error"),
        (SHUT_DOWN, "shutdown"), (REFUSED, "refused"),
    ],
)  # fmt: skip
def test_the_end_is_reported_in_words(line, words):
    assert show(line)[0].endswith(f"s {words}")


@pytest.mark.parametrize("columns", [None, 20, 60, 80, 100, 250])
@pytest.mark.parametrize("line", [*ALL, LONG], ids=lambda line: line["ended"])
def test_the_line_fits_the_terminal_and_has_at_most_a_hundred_columns(line, columns):
    first = show(line, columns)[0]
    assert width(first) <= min(max(columns or WIDEST, NARROWEST), WIDEST)


@pytest.mark.parametrize("columns", [80, 100])
def test_wide_characters_are_counted_as_a_terminal_shows_them(columns):
    line = {**GOOD, "model": "模型" * 40, "target": "up/" + "大" * 50}
    assert width(show(line, columns)[0]) <= columns


def test_log_lines_of_usual_length_are_aligned_in_columns():
    ends = {line[0].rindex("s ") for line in map(show, (GOOD, CUT, SHUT_DOWN, REFUSED))}
    assert len(ends) == 1


def test_a_name_that_is_too_long_keeps_both_ends():
    line = {**GOOD, "model": None, "target": "anthropic/" + "x" * 90 + "-20250929"}
    del line["model"]
    assert re.search(r" anthropic/x+…x*-20250929 ", show(line)[0])


def test_a_log_line_shows_equal_names_once():
    for asked in ("gpt-4o-mini", "openai/gpt-4o-mini"):
        assert "→ openai" not in show({**GOOD, "model": asked})[0]
    assert " chat fast" in show({**GOOD, "api": "chat"})[0]


def test_tokens_are_short_and_estimates_are_marked():
    for tokens, text in {0: "0", 9999: "9999", 12_345: "12.3k", 456_789: "456k", 2_345_678: "2.3M"}.items():
        assert f" {text}→1 " in show({**GOOD, "input_tokens": tokens, "output_tokens": 1})[0]
    assert " 0→0 " in show({**GOOD, "input_tokens": 0, "output_tokens": 0})[0]
    assert " ~1234→567 " in show(CUT)[0]


@pytest.mark.parametrize("line", [GOOD, LEFT, {**GOOD, "dropped": "system[],tools[].cache_control"}])
def test_without_trouble_there_is_no_second_line(line):
    assert len(show(line)) == 1


@pytest.mark.parametrize(
    ("line", "id"),
    [({**LIMITED, "upstream_request_id": "up_1"}, "[req_1] [up_1]"), (CRASHED, "[req_1]"), (SHUT_DOWN, "[req_1]")],
    ids=["theirs", "ours", "shutdown"],
)  # fmt: skip
def test_an_error_names_the_id_under_which_more_is_found(line, id):
    assert show(line)[1].endswith(id)


def test_a_response_of_a_second_target_reports_the_failure_of_the_first():
    tried = [{"target": "vllm-a", "reason": "connection"}, {"target": "claude", "reason": "ok"}]
    assert show({**GOOD, "tried": tried})[1:] == ["         tried vllm-a=connection, claude=ok [req_1]"]
    assert show({**LIMITED, "tried": tried})[1:] == ["         rate_limited: slow down, please [req_1]"]
    assert show({**LEFT, "tried": tried[:1]})[1:] == []


MISSED = {
    **GOOD, "prompt_cache_could": 51_200, "prompt_cache_missed": 49_280, "prompt_cache_cause": "system",
    "prompt_cache_at": "system[0]:0-64 (time)", "prompt_cache_usd": 0.170016, "prompt_cache_grade": "exact",
}  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "at", "more", "text"),
    [
        ("system", "system[0]:0-64 (time)", {}, ", 0.1700 usd: system[0] changed at 0-64 (a time)"),
        ("system", "system[0]:0-64", {"grade": "estimated"}, ", ~0.1700 usd: system[0] changed at 0-64"),
        ("moved", "gpu-1>gpu-2 (busy)", {}, "usd: moved, gpu-1>gpu-2 (busy)"),
        ("tools", "tools: 2 added at [14]", {}, " usd: tools: 2 added at [14]"),
        ("expired", None, {"idle_s": 3660}, ": expired after 3,660 s"),
        ("compacted", None, {"usd": 0.0}, " tokens missed: compacted"),
        ("provider", None, {"usd": None}, " tokens missed: provider"),
    ],
)  # fmt: skip
def test_a_missed_prompt_cache_has_a_line_with_its_cause(cause, at, more, text):
    fields = {"cause": cause, "at": at, **more}
    changed = {f"prompt_cache_{name}": value for name, value in fields.items()}
    line = {name: value for name, value in {**MISSED, **changed}.items() if value is not None}
    found = show(line, 200)
    assert len(found) == 2
    assert found[1].startswith("         prompt cache: 49,280 of 51,200 tokens missed")
    assert found[1].endswith(text)


@pytest.mark.parametrize("more", [{"prompt_cache_cause": "unknown:not_seen"}, {"prompt_cache_cause": None}])
def test_a_miss_without_a_known_cause_has_no_second_line(more):
    assert len(show({name: value for name, value in {**MISSED, **more}.items() if value is not None})) == 1


def test_a_log_line_shows_the_cost_if_there_is_one():
    for usd, text in {0.0123456: "$0.0123", 0.00001: "<$0.0001", 2.5: "$2.5000", 1234.5: "$1234.50"}.items():
        assert f" 1234→567 {text:>8}  2.31s stop" in show({**GOOD, "cost_usd": usd})[0]
    assert "$" not in show({**GOOD, "cost_usd": 0.0})[0]


def test_losses_that_repeat_are_shown_once_in_a_session():
    printer = Printer()

    def lines(at: str, **changes: str) -> int:
        line = {**GOOD, "dropped": "top_k", "at": f"2026-11-21T{at}Z", **changes}
        return len(printer.exchange(line, Mask()).split("\n"))

    assert [lines("08:00:00"), lines("08:00:01"), lines("08:25:00"), lines("08:50:00")] == [2, 1, 1, 1]
    assert [lines("08:50:00", client="bob"), lines("08:50:00", dropped="top_p"), lines("09:20:00")] == [2, 2, 2]


def test_losses_are_listed_before_hints():
    second = show({**GOOD, "dropped": "system[],top_k,tools[].cache_control"}, columns=None)[1]
    assert second.split("; ") == [
        "         not sent to the provider: top_k",
        "hints: system[]: billing line, tools[].cache_control: cache mark",
    ]


def test_a_log_line_lists_only_the_first_losses():
    dropped = ",".join([*(f"field{n}" for n in range(400)), "+2578"])
    second = show({**GOOD, "dropped": dropped}, columns=None)[1]
    assert second.endswith("field10, field11, …")


@pytest.mark.parametrize("columns", [80, 100])
def test_a_long_message_is_folded_below_itself_on_a_terminal_alone(columns):
    line = {**LIMITED, "message": "word " * 60}
    folded = show(line, columns)[1:]
    assert all(part.startswith(" " * 9) and len(part) <= columns for part in folded)
    assert len(show(line, None)) == 2


def test_colours_are_those_of_the_end_and_none_without_a_terminal(monkeypatch):
    assert "\x1b[32m200\x1b[0m" in show(GOOD, colour=True)[0]
    assert "\x1b[33m404\x1b[0m" in show(REFUSED, colour=True)[0]
    assert "\x1b[31m200\x1b[0m" in show(CUT, colour=True)[0]
    for line in ALL:
        assert ESCAPE.sub("", "\n".join(show(line, colour=True))) == "\n".join(show(line))


@pytest.mark.parametrize(
    ("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_has_colours_unless_disabled(monkeypatch, env, colour):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    mine, theirs = pty.openpty()
    with open(mine), open(theirs, "w") as stream:
        assert Printer.of(stream).colour is colour
        echo_styled(click.style("a head", bold=True), file=stream)
        assert (b"\x1b" in os.read(mine, 99)) is colour
    assert not Printer.of(io.StringIO()).colour


def test_other_lines_have_time_and_level_each():
    text = Printer().message(1795251383.0, "warning", "the store is away:\n  a mistake")
    assert text.split("\n") == ["08:56:23 warning the store is away:", "08:56:23 warning   a mistake"]


# Text that must not be printed


@pytest.mark.parametrize(
    "odd", ["\x1b[31m", "\n", "\r", "\x07", "\x9b31m", "\u202e", "\u2066", "\u061c", "\x7f", "\u2028"]
)
@pytest.mark.parametrize("name", ["model", "target", "message", "upstream_request_id", "dropped"])
def test_no_control_character_of_a_client_or_provider_gets_to_a_terminal(name, odd):
    line = {**LIMITED, "upstream_request_id": "up", "dropped": "top_k", name: f"a{odd}b"}
    text = "\n".join(show(line, columns=None))
    assert odd not in text.replace("\n", "", 1) or odd == "\n"
    assert len(text.split("\n")) == 2


def test_keys_are_masked_before_a_name_is_shortened():
    key = "sk-" + "k" * 200
    for mask in (Mask(), Mask([key])):
        text = "\n".join(show({**REFUSED, "model": f"openai/{key}"}, mask=mask))
        assert "kkk" not in text
        assert "[redacted]" in text
