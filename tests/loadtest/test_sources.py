"""The requests of a plan, as data: what is drawn, what differs from run to run, and what is sent of a file."""

import base64
import json
import random
from collections import Counter
from statistics import mean

import attrs
import msgspec
import pytest

from configfile.document import ConfigError, Document
from loadtest.plan.arrivals import RateStep
from loadtest.plan.lengths import SharedPrefixes
from loadtest.plan.load_request import LoadRequest, PromptImages
from loadtest.plan.scenario_file import build_scenario
from loadtest.plan.traces import load_trace
from loadtest.requests.estimate import describe_files
from loadtest.requests.mix import source_of
from loadtest.requests.sources import SourceSetting, setting_of


def plan(*requests, **more):
    content = {"targets": {"a": "http://x", "b": "http://y"}, "rate": 1, "requests": [*requests], **more}
    return build_scenario(Document("s", content), {})


def sent(scenario, target="a", number=20):
    """The first requests of a run, as they are prepared."""
    source, rng = source_of(scenario.requests, setting_of(scenario, target)), random.Random(scenario.seed)
    return [source.session(n, rng).turn(None) for n in range(number)]


def prompts(*arguments, **more):
    return [body(request)["messages"][0]["content"] for request in sent(*arguments, **more)]


def body(request):
    return msgspec.json.decode(request.body)


def test_no_prompt_shares_its_beginning_with_another_run_or_target():
    """Both targets once got the same prompts, and so does the second of two equal commands: 20,701 tokens a second from
    a cache instead of 313 (raullenchai/Rapid-MLX#1641)."""
    scenario = plan({"model": "m", "prompt": [50, 200]})
    runs = [prompts(scenario, target) for target in ("a", "b", "a")]
    begins = [prompt[:8] for run in runs for prompt in run]
    assert len({*begins}) == len(begins)
    assert [[len(prompt) for prompt in run] for run in runs] == [[len(prompt) for prompt in runs[0]]] * 3


def test_processes_of_one_run_share_its_mark():
    scenario = plan({"model": "m"})
    marked = attrs.evolve(scenario, mark="one")
    assert prompts(marked) == prompts(marked)
    assert prompts(marked) != prompts(attrs.evolve(scenario, mark="two"))


def test_the_same_prompts_are_sent_on_request():
    scenario = plan({"model": "m", "prompt": [50, 200]}, same_prompts=True)
    assert prompts(scenario, "a") == prompts(scenario, "b")
    other = plan({"model": "m", "prompt": [50, 200]}, same_prompts=True, seed=2)
    assert prompts(scenario) != prompts(other)
    assert all(request.learn is None for request in sent(scenario))  # lengths that follow an answer would differ


def test_drawn_requests_do_not_depend_on_the_sending_process():
    """Each process goes through the whole plan; a request is made only where it is sent."""
    scenario = plan({"model": "m", "prompt": [50, 2000], "prefix": "50%:100:3", "images": {"size": "4x4"}}, warmup=9)
    source = source_of(scenario.requests, setting_of(scenario, "a"))
    rng, alone = random.Random(1), random.Random(1)
    sessions = [source.session(n, rng) for n in range(50)]
    other = source_of(scenario.requests, setting_of(scenario, "a"))
    for number in range(50):
        other.session(number, alone).turn(None)
    assert rng.getstate() == alone.getstate()
    assert len({session.turn(None).asked_input for session in sessions}) > 30


def test_lengths_are_drawn_for_prompts_and_answers():
    scenario = plan({"model": "m", "prompt": {"mean": 500, "stdev": 100}, "output": [10, 20]})
    requests = sent(scenario, number=400)
    assert mean(request.asked_input for request in requests) == pytest.approx(500, rel=0.05)
    for request in requests:
        text = body(request)["messages"][0]["content"]
        assert len(text) == request.characters == 4 * request.asked_input
        assert body(request)["max_completion_tokens"] == request.asked_output
    assert {request.asked_output for request in requests} == {*range(10, 21)}


def test_a_share_of_prompts_begins_with_shared_texts():
    """80 % of 5,120 tokens where 4,096 of them are shared (vllm-project/vllm#33907)."""
    request = LoadRequest("m", prompt=1024, prefix=SharedPrefixes(0.8, 4096, 10))
    source, rng = source_of([request], SourceSetting("run")), random.Random(1)
    made = [source.session(number, rng).turn(None) for number in range(1000)]
    texts = [body(one)["messages"][0]["content"] for one in made]
    begins = Counter(text[:8] for text in texts)
    shared = {begin for begin, number in begins.items() if number > 1}
    assert len(shared) == 10
    assert sum(begins[begin] for begin in shared) / 1000 == pytest.approx(0.8, abs=0.04)
    assert [text[:8] for text in texts[:10]] == list(dict.fromkeys(text[:8] for text in texts if text[:8] in shared))
    for begin in shared:
        of_one = [text for text in texts if text.startswith(begin)]
        assert len({text[: 4 * 4096] for text in of_one}) == 1
        assert len({text[4 * 4096 :][:8] for text in of_one}) == len(of_one)
        assert {len(text) for text in of_one} == {4 * 5120}
    assert {one.asked_input for one in made} == {5120, 1024}


TRACE = """{"timestamp": 0, "input_length": 1200, "output_length": 50, "hash_ids": [0, 1, 2]}
{"timestamp": 30, "input_length": 1600, "output_length": 60, "hash_ids": [0, 1, 5, 6]}
{"timestamp": 40, "input_length": 300, "output_length": 7, "hash_ids": [9]}
"""


def test_a_trace_sets_the_lengths_and_shared_prefixes_of_prompts(tmp_path):
    """Equal names of blocks at equal places are 512 equal tokens (https://github.com/kvcache-ai/Mooncake)."""
    path = tmp_path / "t.jsonl"
    path.write_text(TRACE)
    scenario = plan({"model": "m"}, rate=None, trace=str(path))
    made = sent(scenario, number=3)
    assert [(one.asked_input, one.asked_output) for one in made] == [(1200, 50), (1600, 60), (300, 7)]
    assert [body(one)["max_completion_tokens"] for one in made] == [50, 60, 7]
    first, second, third = (body(one)["messages"][0]["content"] for one in made)
    assert [len(first), len(second), len(third)] == [4800, 6400, 1200]
    assert first[: 2 * 4 * 512] == second[: 2 * 4 * 512]
    assert first[2 * 4 * 512 :][:8] != second[2 * 4 * 512 :][:8]
    assert third[:8] != first[:8]
    assert load_trace(path) is load_trace(path)  # read once for all runs


def test_images_are_different_in_each_request_and_not_learned_from():
    made = sent(plan({"model": "m", "images": {"count": 2, "size": "16x9"}}), number=5)
    urls = [part["image_url"]["url"] for one in made for part in body(one)["messages"][0]["content"][1:]]
    assert len({*urls}) == 10
    assert base64.b64decode(urls[0].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert all(one.learn is None for one in made)
    assert LoadRequest("m", images=PromptImages()).images.size == (512, 512)


# Files


@pytest.fixture
def own(tmp_path):
    def own(*lines, **more):
        path = tmp_path / "own.jsonl"
        path.unlink(missing_ok=True)
        path.write_text("\n".join(json.dumps(line) for line in lines))
        return plan({"model": "m", "requests": str(path), **more})

    return own


def test_prompts_of_a_file_are_sent_in_its_order_again_and_again(own):
    scenario = own({"prompt": "a", "output_tokens": 5}, {"prompt": "b"}, {"prompt": "c"}, output=9)
    assert prompts(scenario, number=7) == ["a", "b", "c", "a", "b", "c", "a"]
    assert [request.asked_output for request in sent(scenario, number=2)] == [5, 9]


def test_a_shuffled_file_is_sent_whole_in_each_round_and_alike_with_one_seed(own):
    scenario = own(*({"prompt": str(n)} for n in range(50)), order="shuffled")
    first, second = prompts(scenario, number=100)[:50], prompts(scenario, number=100)[50:]
    assert sorted(first, key=int) == sorted(second, key=int) == [str(n) for n in range(50)]
    assert first != second != sorted(second, key=int)
    assert first == prompts(scenario, number=50)


def test_bodies_of_a_file_are_sent_with_only_the_model_changed(own):
    lines = (
        {"model": "theirs", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "max_tokens": 4},
        {"model": "theirs", "input": "Hi", "temperature": 0.20},
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    )
    made = sent(own(*lines), number=3)
    assert [body(one) for one in made] == [{**line, **({"model": "m"} if "model" in line else {})} for line in lines]
    assert [(one.request.api, one.request.stream) for one in made] == [
        ("chat", True), ("responses", False), ("gemini", True)
    ]  # fmt: skip
    assert {one.request.name for one in made} == {"chat m"}
    assert made[2].body == json.dumps(lines[2]).encode()
    assert made[1].body == json.dumps(lines[1]).encode().replace(b'"theirs"', b'"m"')


def test_files_are_described_before_the_load(own, tmp_path):
    scenario = attrs.evolve(own(*({"prompt": str(n)} for n in range(10))), steps=(RateStep(10, 10),))
    assert describe_files(scenario) == (
        "own.jsonl: 10 requests (10 prompts); 100 requests are planned, so each is sent about 10 times",
    )
    path = tmp_path / "t.jsonl"
    path.write_text(TRACE)
    (told,) = describe_files(plan({"model": "m"}, rate=None, trace=str(path)))
    assert told == "t.jsonl: Mooncake's form (times in milliseconds), 3 requests in 0.04 s, 75 a second"
    with pytest.raises(
        ConfigError, match=r"own.jsonl: the model is missing: 1 of 2 requests have no model; add --model MODEL"
    ):
        describe_files(own({"prompt": "a"}, {"model": "x", "input": "b"}, model=""))
    assert body(sent(own({"model": "x", "input": "b"}, model=""), number=1)[0])["model"] == "x"


def test_talks_of_a_file_are_conversations_with_this_servers_answers(own):
    """A recorded answer is nobody's here (triton-inference-server/perf_analyzer#445)."""
    talk = [{"from": who, "value": text} for who, text in (("human", "a"), ("gpt", "old"), ("human", "b"))]
    messages = [{"role": who, "content": text} for who, text in (("user", "a"), ("assistant", "old"), ("user", "b"))]
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "new"}, "finish_reason": "stop"}]}  # fmt: skip
    scenario = own({"conversations": talk}, {"messages": messages}, stream=False)
    source, rng = source_of(scenario.requests, setting_of(scenario, "a")), random.Random(1)
    for number in range(2):
        session = source.session(number, rng)
        assert [one["content"] for one in body(session.turn(None))["messages"]] == ["a"]
        assert session.unbegun == 1
        assert [one["content"] for one in body(session.turn(json.dumps(answer).encode()))["messages"]] == [
            "a",
            "new",
            "b",
        ]
        assert session.turn(json.dumps(answer).encode()) is None
