"""Conversations as a scenario spells them, and held with a server on a socket."""

import msgspec
import pytest

from configfile.document import ConfigError
from gateway.mock.script import script
from loadtest.figures.conditions import parse_condition
from loadtest.figures.result import RunResult
from loadtest.plan.lengths import LognormalLengths, NormalLengths, UniformLengths, constant_length
from loadtest.plan.load_request import OTHERS, ThinkTime, ToolResults, Turns
from loadtest.reports import report_file, text
from loadtest.reports.page import page
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from tests.support.cases import case
from tests.support.load_servers import HEAD, answer, chunk, load, scenario, serving_bodies

URL = "http://127.0.0.1:9"


def kind(**members):
    (request,) = scenario(URL, [{"model": "m", **members}], rate=1).requests
    return request


def test_turns_are_a_number_a_distribution_or_texts():
    assert kind(turns=5).turns == Turns(constant_length(5))
    assert kind(turns="5").turns == Turns(constant_length(5))
    assert kind(turns=[2, 10]).turns == Turns(UniformLengths(2, 10))
    assert kind(turns={"mean": 5, "stdev": 2, "max": 20}).turns == Turns(NormalLengths(5.0, 2.0, 1, 20))
    assert kind(turns=["Rome?", "And Oslo?"]).turns == Turns(constant_length(2), ("Rome?", "And Oslo?"))


def test_times_to_think_are_spelled_as_times_in_a_file_and_in_an_option():
    for value, found in {
        "2s": constant_length(2000),
        "1.5": constant_length(1500),
        "1s-5s": UniformLengths(1000, 5000),
        "mean=2s,stdev=500ms": NormalLengths(2000, 500, 0),
        "p50=2s,p95=1m,max=90s": LognormalLengths(2000, 60_000, 0, 90_000),
    }.items():
        assert kind(turns=2, think=value).think == ThinkTime(found), value
    assert kind(turns=2, think=["1s", 5]).think == ThinkTime(UniformLengths(1000, 5000))
    assert kind(turns=2, think={"mean": 2, "stdev": "500ms"}).think == ThinkTime(NormalLengths(2000, 500, 0))
    assert kind(turns=2, think=2, think_cap="500ms").think_cap == 0.5


def test_results_of_tools_go_by_a_rule():
    assert kind(turns=2, tool_results="21 degrees").tool_results == ToolResults({OTHERS: "21 degrees"})
    assert kind(turns=2, tool_results="500").tool_results.result_of("f") == constant_length(500)
    rule = kind(turns=2, tool_results={"look_up": "21 degrees", "read": [100, 2000]}).tool_results
    assert [rule.result_of(tool) for tool in ("look_up", "read", "else")] == [
        "21 degrees",
        UniformLengths(100, 2000),
        "done",
    ]
    assert kind(turns=2, tool_results={"look_up": 5, "*": "ok"}).tool_results.result_of("else") == "ok"


def test_mistakes_are_reported():
    for members, said in [
        ({"turns": 0}, "turns: 0; expected a number of turns, 1 to 1000, [least, most]"),
        ({"turns": "x"}, "'x'; expected a number of turns, 1 to 1000, [least, most]"),
        ({"turns": 2, "requests": "synthetic"}, "turns does not work with requests"),
        ({"turns": 5000}, "may have at most 1000 turns"),
        ({"turns": [5, "a"]}, "expected the user's text of each turn, or two numbers"),
        ({"turns": 2, "think": "soon"}, "expected a duration such as"),
        ({"turns": 2, "think": {"mean": 1}}, "add stdev to mean"),
        ({"turns": 2, "think": {"p50": 2, "p59": 5}}, "p95"),
        ({"turns": 2, "think": ["5s", "1s"]}, "give the shorter time first"),
        ({"follow_up": 20}, "follow_up needs turns"),
        ({"turns": 2, "history": "server"}, "only responses and interactions store earlier turns"),
        ({"turns": 2, "think": "-1"}, "'-1'; expected a duration"),
        ({"tool_results": {}}, "set a text"),
        ({"tool_results": 1.5}, "set a text"),
    ]:
        with case((members, said)):
            with pytest.raises(ConfigError) as error:
                kind(**members)
            assert said in error.value.list_mistakes("mistakes")


def conversing(asked: list, failing: int | None = None):
    """A server that notes the number of messages of each request, and answers all but those with ``failing``."""

    async def serve(stream, head, body):
        messages = len(msgspec.json.decode(body)["messages"])
        asked.append(messages)
        if messages == failing:
            await stream.send_all(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
        else:
            await answer(stream, "one", " two")

    return serve


async def test_conversations_continue_with_what_the_server_said_and_have_figures_by_turn():
    asked = []
    async with serving_bodies(conversing(asked)) as url:
        run = await load(url, [{"model": "m", "turns": 3, "think": "50ms"}], rate=10, seconds=0.6)
    assert sorted(asked)[:6] == [1] * 6, "the rate is of conversations"
    started = {turn: tally.counts["started"] for turn, tally in run.turns.items()}
    assert started[1] == 6
    assert started[2] >= started[3] >= 2
    assert run.tally.counts["started"] == len(asked) == sum(started.values())
    assert run.cut_off == 18 - len(asked), "no turn begins when the time is up"
    assert run.unbegun == 0
    assert set(asked) == {1, 3, 5}
    assert run.tally.failures == ()
    assert run.turns[3].measures["ttft"].most < 0.5, "thinking is no waiting"
    said = text.summary(run)
    assert f"6 conversations begun, 10 a second; of these {len(asked)} turns begun, " in said
    table = said[said.index("  6 conv") :].partition("  loader")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert f"{run.cut_off} turn" in said
    assert "skipped because the time was up" in said
    shown = page([run])
    assert "<h3>Conversations, turn by turn</h3>" in shown
    assert "<p>6 conversations begun" in shown
    again = RunResult.load(msgspec.json.decode(report_file.dump([run]))["runs"][0])
    assert text.summary(again) == said


async def test_single_requests_are_no_conversations():
    asked = []
    kinds = [{"model": "m", "turns": 2}, {"model": "m", "name": "alone"}]
    async with serving_bodies(conversing(asked)) as url:
        run = await load(url, kinds, rate=40, seconds=0.5)
        alone = await load(url, rate=10, seconds=0.2)
    began = run.requests["chat m"].counts["started"]
    assert run.turns[1].counts["started"] + run.turns[2].counts["started"] == began
    assert 0 < began < run.tally.counts["started"]
    assert alone.turns == {}
    assert "conversation" not in text.summary(alone)


async def test_all_turns_of_a_trace_are_held_though_its_time_is_up(tmp_path):
    asked, file = [], tmp_path / "burst.csv"
    head = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
    file.write_text(f"{head}\n0,1,0,m,9,1,10,x\n0.1,1,0,m,19,1,20,x\n0.2,1,0,m,29,1,30,x\n")
    async with serving_bodies(conversing(asked)) as url:
        run = await load(url, trace=str(file))
        cut = await load(url, trace=str(file), seconds=0.1)
    assert asked[:3] == [1, 3, 5]
    assert (run.tally.counts["whole"], run.cut_off) == (3, 0)
    assert cut.cut_off == 2


async def test_turns_after_one_that_failed_are_counted_apart():
    """Under 1 % of faults erased a tenth of a run (kubernetes-sigs/inference-perf#780)."""
    asked = []
    async with serving_bodies(conversing(asked, failing=3)) as url:
        run = await load(url, [{"model": "m", "turns": 5}], rate=10, seconds=0.4)
    assert sorted(asked) == [1, 1, 1, 1, 3, 3, 3, 3]
    assert (run.tally.counts["error"], run.unbegun, run.cut_off) == (4, 12, 0)
    assert parse_condition("unbegun>11").failure(run) == "unbegun>11: it is 12"
    assert parse_condition("unbegun>12").failure(run) is None
    assert "12 turns skipped after a failed turn" in text.summary(run)


async def test_a_client_of_a_closed_loop_has_one_conversation_at_a_time():
    asked = []
    async with serving_bodies(conversing(asked)) as url:
        run = await load(url, [{"model": "m", "turns": ["a", "b"], "stream": True}], concurrency=1, seconds=0.3)
    assert asked[:4] == [1, 3, 1, 3]
    assert run.turns[1].counts["whole"] - run.turns[2].counts["whole"] in (0, 1)


def answering(api: str, said: list):
    """A server of ``api`` that answers as the stand-in does, and notes what each request says."""
    codec = CODECS[api]

    async def serve(stream, head, body):
        request = codec.read_request({"model": "m", **msgspec.json.decode(body)})
        said.append([type(part).__name__ for message in request.messages for part in message.parts])
        writer = codec.writer(Reply(request, Issuer("stand-in", ""), 1))
        content_type = codec.wire.framing.content_type.encode()
        await stream.send_all(HEAD.replace(b"text/event-stream", content_type))
        await stream.send_all(chunk(b"".join(map(writer.send, script(request, api)))) + b"0\r\n\r\n")

    return serve


async def test_a_conversation_with_tools_is_held_in_each_api():
    reasoning = {
        "chat": {"reasoning_effort": "low"},
        "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096},
        "responses": {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
    }
    for api in CODECS:
        said = []
        kind = {"model": "m", "api": api, "tools": 1, "tool_results": "21 degrees", "extra": reasoning.get(api, {})}
        async with serving_bodies(answering(api, said)) as url:
            run = await load(url, [{**kind, "turns": ["Rome?", "And Oslo?"]}], rate=20, seconds=0.05, count=1)
        assert run.tally.failures == (), api
        thought = ["ReasoningPart"] if api in reasoning else []
        first, second, third, fourth = said
        assert first == ["TextPart"], api
        assert second == [*first, *thought, "ToolCallPart", "ToolResultPart"], api
        assert third == [*second, *thought, "TextPart", "TextPart"], api
        assert fourth == [*third, *thought, "ToolCallPart", "ToolResultPart"], api


async def test_turns_of_a_conversation_that_was_not_sent_at_all_are_counted_too():
    asked = []
    async with serving_bodies(conversing(asked)) as url:
        kind = {"model": "m", "turns": 3, "think": "300ms"}
        run = await load(url, [kind], rate=20, count=3, concurrency=1, deadline="200ms")
    assert asked == [1, 3, 5]
    assert [(failure.kind, failure.count) for failure in run.tally.failures] == [("expired", 2)]
    assert (run.unbegun, run.cut_off) == (4, 0)
