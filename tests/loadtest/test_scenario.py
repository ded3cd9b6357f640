"""Scenarios of the load tester: what they may say, and how mistakes are told."""

import json

import msgspec
import pytest

from configfile.document import ConfigError, read
from loadtest.plan.arrivals import RateStep
from loadtest.plan.lengths import LognormalLengths, NormalLengths, SharedPrefixes, UniformLengths, constant_length
from loadtest.plan.load_request import Cancelling, PromptImages, TokensSeen
from loadtest.plan.scenario import recorded_starts
from loadtest.plan.scenario_file import build_scenario
from loadtest.requests.bodies import Bodies
from tests.support.cases import case

GOOD = """
targets: {one: "http://127.0.0.1:1", other: "http://127.0.0.1:2"}
steps:
  - {rate: 10, seconds: 5}
  - {rate: 10, to: 100, seconds: 1m}
spacing: poisson
warmup: 2s
headers: {authorization: Bearer $TOKEN}
requests:
  - {model: fast, weight: 3, cancel: {share: 10%, after: 500ms}}
  - {model: fast, api: messages, stream: false, prompt: [100, 2000], tools: 2, extra: {temperature: 0}}
"""


def built(text: str, **env: str):
    return build_scenario(read(text.encode(), "s.yaml"), env)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_scenario_is_read_with_its_defaults():
    plan = built(GOOD, TOKEN="t0ps3cret")
    assert plan.targets == {"one": "http://127.0.0.1:1", "other": "http://127.0.0.1:2"}
    assert plan.steps == (RateStep(10, 5), RateStep(10, 60, 100))
    assert (plan.seconds, plan.warmup, plan.spacing, plan.is_open_loop) == (65, 2, "poisson", True)
    first, second = plan.requests
    assert (first.name, first.api, first.stream, first.prompt) == ("chat fast", "chat", True, constant_length(20))
    assert first.cancel == Cancelling(0.1, 0.5)
    assert (second.name, second.prompt, second.extra) == (
        "messages fast whole",
        UniformLengths(100, 2000),
        {"temperature": 0},
    )


def test_credentials_do_not_get_into_the_report():
    plan = built(GOOD, TOKEN="t0ps3cret")
    assert plan.headers == (("authorization", "Bearer t0ps3cret"),)
    assert "t0ps3cret" not in repr(plan)
    assert "t0ps3cret" not in str(plan.describe())
    assert plan.describe()["headers"] == ["authorization"]


def test_all_mistakes_are_reported_together_with_lines_and_suggestions():
    found = mistakes(
        """url: ftp://x
rate: -3
secnods: 5
requests:
  - {api: chatt, model: m, cancel: {share: 150%}, prompt: 0}
  - {model: m, stream: maybe}
"""
    )
    assert found[0].startswith("s.yaml:1:1: url: 'ftp://x'; expected a URL")
    assert found[1].startswith("s.yaml:2:1: rate: -3; expected a number, 0 or more")
    assert found[2] == "s.yaml:3:1: secnods: unknown key; did you mean seconds?"
    text = "\n".join(found[3:])
    assert "requests[0].api: 'chatt'; did you mean chat?" in text
    assert "requests[0].cancel.share: '150%'; expected a share such as 10% or 0.1" in text
    assert "requests[0].prompt: 0; expected a number of tokens" in text
    assert "requests[1].stream: 'maybe'; expected true or false" in text


def test_mistakes_of_all_kinds_are_reported_together():
    assert mistakes(
        """url: http://x
seconds: -3
rate: 5
concurrency: 2
requests:
  - {model: a, think: 1s, tools: many}
  - {model: b, cancel: {share: 60%}, slow: {share: 0.6}}
  - {model: c, weight: heavy}
fail_if:
  - ttft.p95>500
  - errors>0
  - eror>1
  - 7
targets: {a: "http://y"}
"""
    ) == [
        "s.yaml:1:1: url: both url and targets are set; give one of them.",
        "s.yaml:2:1: seconds: -3; expected a duration above 0, such as 30s, 0.5s or 5m.",
        "s.yaml:6:27: requests[0].tools: 'many'; expected a whole number, 0 or more.",
        "s.yaml:6:16: requests[0].think: think needs concurrency or turns; only concurrency and "
        "conversations have pauses: set concurrency or turns.",
        "s.yaml:7:38: requests[1].slow: the shares of cancel and slow exceed 1; lower one of them.",
        "s.yaml:8:16: requests[2].weight: 'heavy'; expected a number, 0 or more and at most 1000000.",
        "s.yaml:10:5: fail_if[0]: 'ttft.p95>500': no unit, but a time is expected; use ms, s or us.",
        "s.yaml:12:5: fail_if[2]: 'eror>1': eror is not measured; did you mean error?",
        "s.yaml:13:5: fail_if[3]: 7; expected text (put it in quotes).",
    ]


def test_texts_from_variables_are_sent():
    request = "{model: $MODEL, extra: {user: $USER, metadata: {team: $USER}}}"
    env = {"HOST": "http://x", "MODEL": "gpt-4o", "USER": "ann"}
    plan = build_scenario(read(f"url: $HOST\nrate: 5\nrequests: [{request}]\n".encode(), "s.yaml"), env)
    body = json.loads(Bodies(plan.requests[0]).make_body("Hi", 9))
    assert (body["model"], body["user"], body["metadata"]) == ("gpt-4o", "ann", {"team": "ann"})
    json_of_targets = msgspec.json.encode([*plan.targets, *plan.targets.values()])
    assert json_of_targets == b'["","http://x"]'


def test_one_mistake_does_not_cause_others():
    """A rate that is no number is still a rate, and two requests of an API that there is not have no name yet."""
    found = mistakes(
        """url: nowhere
rate: many
seconds: 5
requests: [{model: m, api: chatt}, {model: m, api: chatt}, {weight: 0}, nothing]
headers: {x-key: $NOT_SET}
warmup: $NOT_SET
"""
    )
    assert [one.split(": ")[1] for one in found] == [
        "url", "rate", "requests[0].api", "requests[1].api", "requests[3]", "requests[2].model", "headers.x-key"
    ]  # fmt: skip


URL, REQUESTS = "url: http://x\n", "requests: [{model: m}]\n"
RATE = URL + "rate: 1\n"


def test_each_mistake_is_reported():
    for text, said in [
        (URL + REQUESTS, "neither rate, steps nor concurrency is set"),
        (RATE + "steps: [{rate: 1, seconds: 1}]\n" + REQUESTS, "steps: rate and steps; set one of rate, steps"),
        ("rate: 1\n" + REQUESTS, "neither url nor targets is set"),
        (URL + "rate: 0\n" + REQUESTS, "rate: 0; expected above 0"),
        (URL + "concurrency: 0\n" + REQUESTS, "concurrency: 0; expected a number of clients, 1 to"),
        (URL + "steps: [{rate: 0, seconds: 1}]\n" + REQUESTS, "no step has any requests"),
        (URL + "steps: [{rate: 1, seconds: 1}]\nseconds: 3\n" + REQUESTS, "seconds does not work with steps"),
        (RATE + "requests: []\n", "no request has a weight above 0"),
        (RATE + "requests: [{model: m}, {model: m}]\n", "another request has the name chat m"),
        (RATE + "speed: 4\n" + REQUESTS, "speed: speed needs a trace; only traces, and recordings"),
        (RATE + "streams_per_connection: 4\n" + REQUESTS, "needs http: 2; with HTTP/1.1"),
        (RATE + "requests: [{model: m, order: shuffled}]\n", "order: order needs requests; only"),
        (RATE + "requests: [{model: m, prompt: 9, requests: f}]\n", "prompt does not work with requests; remove"),
        (URL + "trace: t.csv\nrequests: [{model: m, prompt: 9}]\n", "prompt does not work with a trace; remove it"),
        (RATE + "requests: [{model: m, images: {count: 2}, requests: f}]\n", "images does not work with"),
        (RATE + "requests: [{requests: tests, order: shuffled}]\n", "order does not work with recordings; remove"),
        (RATE + "requests: [{model: m, tool_results: 5}]\n", "tool_results needs turns; only conv"),
        (RATE + "requests: [{model: m, think_cap: 5s}]\n", "think_cap needs think; set think"),
        (RATE + "requests: [{}]\n", "requests[0].model: missing; this is required"),
        (RATE + "headers: {x-key: $NOT_SET}\n" + REQUESTS, "NOT_SET is not set"),
        ("url: 'http://u:p4ss@x'\nrate: 1\n" + REQUESTS, "url: a URL with a user name"),
        (RATE + "fail_if: [errors]\n" + REQUESTS, "s.yaml:3:11: fail_if[0]: 'errors': this is not a cond"),
        ("url: [http://x]\nrate: 1\n" + REQUESTS, "url: a list; expected text"),
        ("url: http://x:0/v1?key=p4ss\nrate: 1\n" + REQUESTS, "'http://x:0/v1?key=***'; its port must be 1 to 65535"),
        ("url: localhost:80?k=p4ss\nrate: 1\n" + REQUESTS, "http:// is missing; did you mean http://localhost:80?k=**"),
        (URL + "vus: 1\n" + REQUESTS + "rate: 1", "s.yaml:2:1: vus: unknown key; did you mean concurrency?"),
        (URL + "concurrency: 1000001\n" + REQUESTS, "expected a number of clients, 1 to 1000000"),
        (URL + "rate: 1000001\n" + REQUESTS, "expected a number, 0 or more and at most 1000000"),
        (RATE + "slo: 5\n" + REQUESTS, "s.yaml:3:1: slo: 5; expected text"),
        (RATE + "slo: {n: 'ttft<1s'}\n" + REQUESTS, "slo: n is neither a target nor a kind of request; there"),
        (RATE + "until: rate>5\n" + REQUESTS, "rate is known only at the end; use it with --fail-if"),
        (
            RATE + "requests: [{model: m, cancel: {share: 1, after: 0 tokens}}]\n",
            "requests[0].cancel.after: '0 tokens'; expected a time such as 2s, or tokens such as 20 tokens",
        ),
        (URL + "rate: -1\n" + REQUESTS, "rate: -1; expected a number"),
        (RATE + "requests: nothing\n", "requests: 'nothing'; expected a list"),
        ("url: 'http://x y?key=p4ss'\nrate: 1\n" + REQUESTS, "'http://x y?…'; expected a URL"),
        ("targets: {a: 'http://u:p4ss@x?key=p4ss'}\nrate: 1\n" + REQUESTS, "targets.a: a URL with a user name; set"),
        (
            RATE + "headers: {Content-Length: '5'}\n" + REQUESTS,
            "s.yaml:3:11: headers.Content-Length: each request has this header already; leave it out",
        ),
        ("- a list\n", "expected keys and values, found a list"),
        ("", "expected keys and values, found nothing"),
    ]:
        with case((text, said)):
            found = mistakes(text)
            assert len(found) == 1
            assert said in found[0]
            assert "p4ss" not in found[0]


def test_prompt_settings_are_read():
    plan = built(
        """
url: http://x
concurrency: 2
warmup: 5s
same_prompts: true
requests:
  - {model: a, prompt: {mean: 500, stdev: 100}, output: {p50: 100, p95: 400}, exact: true, prefix: "80%:4000:10"}
  - {model: b, requests: own.jsonl, order: shuffled}
  - {model: c, images: {count: 2, size: 640x480}}
"""
    )
    first, second, third = plan.requests
    assert (first.prompt, first.output) == (NormalLengths(500, 100), LognormalLengths(100, 400))
    assert (first.exact, first.prefix) == (True, SharedPrefixes(0.8, 4000, 10))
    assert (str(second.requests), second.order, third.images) == ("own.jsonl", "shuffled", PromptImages((640, 480), 2))
    assert plan.same_prompts
    for wrong, said in {
        "images: {size: big}": "images.size: 'big'; expected a width and a height in pixels, 1 to 8192, such as",
        "images: {size: 9000x1}": "1 to 8192",
        "images: {count: 0}": "images.count: 0; expected a whole number, 1 or more",
        "order: random": "order: 'random'; expected one of file, shuffled",
        "prefix: much": "prefix: 'much'; expected a share, a length in tokens",
        "output: {mean: 4}": "output: a mapping; add stdev to mean",
    }.items():
        (found,) = mistakes(f"url: http://x\nrate: 1\nrequests: [{{model: m, {wrong}}}]\n")
        assert said in found, wrong


def test_a_trace_replaces_a_rate(tmp_path):
    path = tmp_path / "azure.csv"
    rows = "".join(f"2024-05-10 00:00:{second:02}.5000000,100,10\n" for second in range(0, 20, 2))
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    text = f"url: http://x\ntrace: {path}\nrequests: [{{model: m}}]\n"
    plan = built(text)
    assert plan.is_open_loop
    assert (plan.seconds, [*recorded_starts(plan)]) == (18, [*range(0, 20, 2)])
    assert sum(step.expected_arrivals for step in plan.steps) == pytest.approx(10)
    fast = built(text + "speed: 2\nwarmup: 3s\nseconds: 4s\n")
    assert (fast.seconds, [*recorded_starts(fast)]) == (4, [*range(8)])
    assert sum(step.expected_arrivals for step in fast.steps) == pytest.approx(5)
    for more, said in {
        "rate: 3\n": "rate and trace; set one of rate, steps and trace",
        "speed: 0\n": "speed: 0; expected a number above 0",
        "warmup: 20s\n": "the warm-up of 20 s is longer than the trace, 18 s at speed 1; make it shorter",
    }.items():
        (found,) = mistakes(text + more)
        assert said in found, more
    (found,) = mistakes(text.replace("azure", "none"))
    assert "none.csv: cannot be read: no such file" in found


def test_shared_prefixes_are_sent_first_in_the_warm_up():
    kinds = "requests: [{model: m, prefix: '80%:4000:10'}, {model: n, weight: 3}]\n"
    assert built("url: http://x\nrate: 4\nwarmup: 10s\n" + kinds)
    for text, said in {
        "rate: 4\n": "requests[0].prefix: 10 shared texts need a warm-up; set warmup: the first requests with each",
        "steps: [{rate: 4, seconds: 9}]\nwarmup: 9s\n": "set a warmup of at least 10 s",
        "rate: 4\nwarmup: 9s\n": "10 shared texts need a longer warm-up: 9 s have 9 requests",
    }.items():
        (found,) = mistakes(f"url: http://x\n{text}{kinds}")
        assert said in found, text
    (found,) = mistakes(f"url: http://x\nrate: 4\n{kinds.replace('model: m,', 'model: m, requests: a.jsonl,')}")
    assert "prefix does not work with requests or a trace" in found


def test_objectives_and_conditions_are_of_all_of_a_part_or_of_a_request():
    plan = built("""url: http://x
rate: 1
requests: [{model: a, slo: "ttft:200"}, {model: b, cancel: {share: 1, after: 20 tokens}}]
slo: ["ttft<500ms, duration<30s", chat b: gap.max<1s]
fail_if: {chat a: [errors>1%, goodput<90%]}
until: errors>5%
count: 7
max_tokens: 1.5M
""")
    assert plan.slo == ("ttft<500ms, duration<30s", "chat b: gap.max<1s", "chat a: ttft:200")
    assert plan.fail_if == ("chat a: errors>1%", "chat a: goodput<90%")
    assert plan.until == ("errors>5%",)
    assert (plan.count, plan.seconds, plan.max_tokens) == (7, 7, 1_500_000)
    assert plan.requests[1].cancel.after == TokensSeen(20)
