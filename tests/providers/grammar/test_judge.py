"""The executable grammars: good answers pass, every rule can be broken and is then reported, and recorded traffic
passes in tolerant mode."""

import ast
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.apis import CODECS
from providers.grammar import GRAMMARS, Judge, detect, judge, rules
from streams.events import AnswerStart, ErrorInfo
from tests.support import (
    grammar_chat,
    grammar_converse,
    grammar_gemini,
    grammar_interactions,
    grammar_messages,
    grammar_responses,
)
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.grammar_changes import GrammarCase, insert_events, places, remove_events, set_value
from tests.support.recordings import files
from tests.support.repository import ROOT

MODULES = (
    grammar_chat,
    grammar_messages,
    grammar_responses,
    grammar_converse,
    grammar_gemini,
    grammar_interactions,
)
CASES: dict[str, GrammarCase] = {module.CASE.api: module.CASE for module in MODULES}
FOLDERS = {
    "chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses",
    "converse": "bedrock_converse", "gemini": "gemini",
}  # fmt: skip
ODD = {
    # Edited by hand for an SDK's tests: the tool block is cut off and yet a message_delta follows.
    "anthropic-sdk-python.streaming-incomplete-partial-json-response.307487": "messages.delta.blocks",
    "own.messages-cut": "messages.end",
    "own.responses-cut": "responses.end",
    # A bare JSON error after the events, which only Google's own SDKs read.
    "vertexai-streaming-failure-error-mid-stream": "frame.data",
}
each_api = pytest.mark.parametrize("one", CASES.values(), ids=CASES)
each_older = pytest.mark.parametrize("one", [CASES[api] for api in OLDER], ids=OLDER)


def change_stream(one: GrammarCase, change: Callable[[Any], Any]) -> bytes:
    """Return the good stream after a change."""
    return one.wire(change(copy.deepcopy(one.stream)))


def broken_rule(api: Any, body: bytes, **how: Any) -> str | None:
    """Return the id of the rule that ``body`` breaks."""
    broken = judge(api, body, **how).broken
    return None if broken is None else broken.rule


def test_a_signature_outside_ascii_is_not_base64():
    gemini, interactions = copy.deepcopy(CASES["gemini"].whole), copy.deepcopy(CASES["interactions"].whole)
    gemini["candidates"][0]["content"]["parts"][0]["thoughtSignature"] = "é"
    interactions["steps"].insert(0, {"type": "thought", "signature": "é"})
    assert broken_rule("gemini", json.dumps(gemini).encode()) == "gemini.part.signature"
    assert broken_rule("interactions", json.dumps(interactions).encode()) == "interactions.signature.base64"


# Valid answers


@each_api
def test_valid_answers_pass_and_their_api_is_detected(one):
    body, whole = one.wire(one.stream), json.dumps(one.whole).encode()
    verdict = judge(one.api, body)
    assert (verdict.broken, verdict.outcome, verdict.streamed) == (None, "complete", True)
    assert verdict.events == len(one.stream)
    verdict = judge(one.api, whole)
    assert (verdict.broken, verdict.outcome, verdict.streamed) == (None, "complete", False)
    assert detect(body) == detect(whole) == one.api


@each_api
def test_failures_in_the_right_form_are_well_formed(one):
    for body in (json.dumps(one.error).encode(), change_stream(one, one.failed)):
        verdict = judge(one.api, body)
        assert (verdict.broken, verdict.outcome) == (None, "failed")


def test_an_array_of_gemini_s_chunks_is_a_whole_answer():
    array = json.dumps(CASES["gemini"].stream).encode()
    assert (judge("gemini", array).broken, judge("gemini", array).outcome) == (None, "complete")
    assert detect(array) == "gemini"


@each_older
def test_comments_and_either_line_end_are_fine(one):
    body = b": ping\n\n" + b": ping\n\n".join(one.frames(one.stream))
    for spelled in (body, body.replace(b"\n", b"\r\n"), body.replace(b"\n", b"\r")):
        assert judge(one.api, spelled).good
    assert detect(body) == one.api


def test_a_call_of_the_second_computer_tool_has_no_safety_checks():
    """https://github.com/open-telemetry/opentelemetry-python-genai: recorded responses of OpenAI."""
    called = {"id": "cu_1", "type": "computer_call", "status": "completed", "call_id": "call_1"}
    actions = [{"type": "screenshot"}]
    whole = {**CASES["responses"].whole, "output": [{**called, "actions": actions}]}
    assert broken_rule("responses", json.dumps(whole).encode(), tolerant=True) is None


@each_row("one", [one for one in CASES.values() if one.half_said], ids=lambda one: one.api)
def test_arguments_may_be_incomplete_if_the_answer_was_cut_short(one):
    assert broken_rule(one.api, change_stream(one, one.half_said)) is None


def test_the_usage_chunk_is_sent_if_and_only_if_requested():
    asked, unasked = CASES["chat"].wire(CASES["chat"].stream), change_stream(CASES["chat"], remove_events(8, 9))
    assert judge("chat", asked, include_usage=True).good
    assert judge("chat", unasked, include_usage=False).good
    assert judge("chat", unasked, include_usage=None).good
    for body, wanted in ((asked, False), (unasked, True)):
        assert broken_rule("chat", body, include_usage=wanted) == "chat.usage.asked"


# Broken answers


@each_api
def test_each_broken_answer_names_its_rule(one):
    for rule, change in one.broken:
        with case(rule):
            broken = judge(one.api, change_stream(one, change)).broken
            assert (broken.rule, broken.want) == (rule, rules(one.api)[rule].text), broken
            assert broken.found
    for rule, change in one.broken_wholes:
        with case((rule, "whole")):
            broken = judge(one.api, json.dumps(change(copy.deepcopy(one.whole))).encode()).broken
            assert (broken.rule, broken.event) == (rule, 0), broken
    for rule, body in one.broken_bodies(one.frames(one.stream)):
        with case((rule, body)):
            assert broken_rule(one.api, body) == rule


@each_older
def test_a_stream_or_a_body_that_just_stops_is_cut(one):
    verdict = judge(one.api, one.wire(one.stream[:5]))
    assert (verdict.outcome, verdict.broken.rule) == ("cut", f"{one.api}.end")
    assert judge(one.api, b'{"id": ').outcome == "cut"
    assert judge(one.api, one.wire(one.stream)[:-1], tolerant=True).waived == ("frame.blank_line",)


def second_line(raw: bytes) -> bytes:
    return raw.replace(b"data: {", b"data: {\ndata: ", 1)


def event_below(raw: bytes) -> bytes:
    name = raw.partition(b"\n")[0] if raw.startswith(b"event:") else b"event: x"
    return raw.removeprefix(name + b"\n").rstrip() + b"\n" + name + b"\n\n"


# On the bytes of an event in the middle; all APIs with server-sent events have these rules.
BAD_EVENTS: dict[str, Callable[[bytes], bytes]] = {
    "frame.fields": lambda raw: b"error: gone\n" + raw,
    "frame.data": lambda raw: b"event: nothing\n\n" + raw,
    "frame.one_line": second_line,
    "frame.order": event_below,
    "frame.json": lambda raw: raw.replace(b"data: {", b"data: {{", 1),
    "frame.separators": lambda raw: raw.replace(b"data: {", b'data: {"x":"\xe2\x80\xa8",', 1),
    "frame.id": lambda raw: b"retry: 5\n" + raw,
}


@each_row("api", [*OLDER, "converse"])
def test_framing_is_judged_on_the_bytes_of_each_event(api):
    raws = CASES[api].frames(CASES[api].stream)
    bad = grammar_converse.BAD_FRAMES
    for rule, raw in bad if api == "converse" else [(rule, edit(raws[4])) for rule, edit in BAD_EVENTS.items()]:
        with case((rule, raw)):
            live = Judge(api)
            told = [live.feed(one) for one in (*raws[:4], *GRAMMARS[api].FRAMES.split(raw))]
            broken = next((one for one in told if one is not None), None)
            if api == "messages" and rule == "frame.id":  # its clients skip id: and retry:
                assert broken is None
            else:
                assert (broken.rule, broken.event, broken.offset) == (rule, 5, sum(map(len, raws[:4])))
                assert told[:4] == [None] * 4


@each_api
def test_every_rule_is_broken_by_one_of_these_tests(one):
    bad = [rule for rule, _ in grammar_converse.BAD_FRAMES] if one.api == "converse" else list(BAD_EVENTS)
    tried = {rule for rule, _ in (*one.broken, *one.broken_wholes, *one.broken_bodies(one.frames(one.stream)))}
    assert set(rules(one.api)) <= tried | set(bad) | {"chat.usage.asked"}
    assert all(rule.source for rule in rules(one.api).values())


# Detection of the API, and live streams


def test_no_api_is_detected_in_other_bytes():
    assert detect(b"hello") is None
    assert detect(b'{"hello": ') is None
    for api, said in (("messages", "messages"), ("chat", "chat"), ("gemini", "gemini")):
        assert detect(json.dumps(CASES[api].error).encode()) == said


@each_older
def test_a_live_stream_reports_a_violation_at_its_event(one):
    live = Judge(one.api)
    verdicts = [live.feed(raw) for raw in one.frames(insert_events(5, {"type": "?"})(one.stream))]
    assert [i for i, broken in enumerate(verdicts) if broken is not None] == [5]
    verdict = live.close()
    assert verdict.broken is verdicts[5]
    assert verdict.outcome == "complete", "how it ended is told all the same"


@each_api
def test_a_judge_accepts_a_valid_stream_event_by_event(one):
    live = Judge(one.api)
    assert [live.feed(raw) for raw in one.frames(one.stream)] == [None] * len(one.stream)
    assert live.close().outcome == "complete"


@each_row("api", OLDER)
def test_the_table_has_every_reachable_state(api):
    states = GRAMMARS[api].STATES
    assert {following for moves in states.values() for following in moves.values()} <= set(states)


def test_the_grammars_share_no_code_with_the_codecs():
    for path in (ROOT / "providers" / "grammar").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("providers", "streams")):
                names = ("events", "event_stream", "framing", "sse", "surrogates")
                allowed = ("providers.grammar", *(f"streams.{name}" for name in names))
                assert str(node.module).startswith(allowed), path.name


@each_older
def test_a_provider_stream_that_we_end_is_a_well_formed_failure(one):
    begun = one.frames(one.stream)[:4]
    last = CODECS[one.api].last_event(ErrorInfo("upstream", "gone"), AnswerStart("resp_1", "m", 1), len(begun))
    verdict = judge(one.api, b"".join([*begun, last]), tolerant=True)
    assert (verdict.broken, verdict.outcome) == (None, "failed")


# Arbitrary bytes

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
apis = st.sampled_from(sorted(CASES))


@given(api=apis, body=st.binary(max_size=200), tolerant=st.booleans())
def test_any_bytes_get_a_verdict(api, body, tolerant):
    judge(api, body, tolerant=tolerant)
    for raw in (b"data: {" + body + b"}\n\n", grammar_converse.PING + body):
        judge(api, raw, streamed=True)
    detect(body)


@settings(max_examples=examples(150))
@given(api=st.sampled_from(OLDER), tolerant=st.booleans(), value=json_values, data=st.data())
def test_any_value_anywhere_gets_a_verdict(api, tolerant, value, data):
    one = CASES[api]
    path = data.draw(st.sampled_from([path for path in places(one.stream) if len(path) > 1]))
    if path[1:] != ("type",):
        judge(api, change_stream(one, set_value(*path, value)), tolerant=tolerant)
    path = data.draw(st.sampled_from(places(one.whole)))
    judge(api, json.dumps(set_value(*path, value)(copy.deepcopy(one.whole))).encode(), tolerant=tolerant)


@given(api=apis, tolerant=st.booleans(), data=st.data())
def test_any_order_of_events_gets_a_verdict(api, tolerant, data):
    stream = CASES[api].stream
    order = data.draw(st.lists(st.sampled_from(range(len(stream))), max_size=20))
    body = CASES[api].wire([stream[i] for i in order])
    assert judge(api, body, streamed=True, tolerant=tolerant).events == len(order)


@each_api
@pytest.mark.parametrize("depth", [100, 900, 1100, 100_000])
def test_deep_json_gets_a_verdict(one, depth):
    deep = b"[" * depth + b"]" * depth
    body = b'{"type":"response.completed","choices":%b,"message":%b,"response":{"output":%b}}' % (deep, deep, deep)
    judge(one.api, body)
    judge(one.api, b'data: {"type":"message_start","object":%b,"choices":%b,"message":%b}\n\n' % (deep, deep, deep))


# Recorded answers of real providers


@pytest.mark.parametrize("api", FOLDERS)
def test_recorded_traffic_passes_in_tolerant_mode(api):
    for path in files(FOLDERS[api], "*.response.*"):
        if path.suffix != ".jsonl":
            with case(path.name):
                body = path.read_bytes()
                expected = next((rule for name, rule in ODD.items() if name in path.name), None)
                assert broken_rule(api, body, tolerant=True) == expected
                assert detect(body) == api
