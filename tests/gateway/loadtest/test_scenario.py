"""Scenarios of the load tester: what they may say, and how mistakes are told."""

import pytest

from gateway.config.document import ConfigError, read
from gateway.loadtest.arrivals import RateStep
from gateway.loadtest.load_request import Cancelling
from gateway.loadtest.scenario import build

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
    return build(read(text.encode(), "s.yaml"), env)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_scenario_is_read_with_its_defaults():
    plan = built(GOOD, TOKEN="t0ps3cret")
    assert plan.targets == {"one": "http://127.0.0.1:1", "other": "http://127.0.0.1:2"}
    assert plan.steps == (RateStep(10, 5), RateStep(10, 60, 100))
    assert (plan.seconds, plan.warmup, plan.spacing, plan.open_loop) == (65, 2, "poisson", True)
    first, second = plan.requests
    assert (first.name, first.api, first.stream, first.prompt) == ("chat fast", "chat", True, (20, 20))
    assert first.cancel == Cancelling(0.1, 0.5)
    assert (second.name, second.prompt, second.extra) == ("messages fast whole", (100, 2000), {"temperature": 0})


def test_credentials_do_not_get_into_the_report():
    plan = built(GOOD, TOKEN="t0ps3cret")
    assert plan.headers == (("authorization", "Bearer t0ps3cret"),)
    assert "t0ps3cret" not in repr(plan)
    assert "t0ps3cret" not in str(plan.described())
    assert plan.described()["headers"] == ["authorization"]


def test_all_mistakes_are_told_at_once_with_their_lines_and_the_nearest_name():
    found = mistakes(
        """url: ftp://x
rate: -3
secnods: 5
requests:
  - {api: chatt, model: m, cancel: {share: 150%}, prompt: 0}
  - {model: m, stream: maybe}
"""
    )
    assert found[0].startswith("s.yaml:1:1: url: 'ftp://x'; this must be a URL")
    assert found[1].startswith("s.yaml:2:1: rate: -3; this must be a number, 0 or more")
    assert found[2] == "s.yaml:3:1: secnods: unknown key; did you mean seconds?"
    text = "\n".join(found[3:])
    assert "requests[0].api: 'chatt'; did you mean chat?" in text
    assert "requests[0].cancel.share: '150%'; this must be a share such as 10% or 0.1" in text
    assert "requests[0].prompt: 0; this must be a number of tokens" in text
    assert "requests[1].stream: 'maybe'; this must be true or false" in text


def test_mistakes_of_all_kinds_are_told_at_once():
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
        "s.yaml:1:1: url: url and targets; give one of them.",
        "s.yaml:2:1: seconds: -3; this must be a duration above 0, such as 30s, 0.5s or 5m.",
        "s.yaml:4:1: concurrency: rate and concurrency; give one of rate, steps and concurrency.",
        "s.yaml:6:27: requests[0].tools: 'many'; this must be a whole number, 0 or more.",
        "s.yaml:7:38: requests[1].slow: the shares of cancel and slow exceed 1; lower one of them.",
        "s.yaml:8:16: requests[2].weight: 'heavy'; this must be a number, 0 or more.",
        "s.yaml:10:5: fail_if[0]: 'ttft.p95>500': no unit where a time should be; give ms, s or us.",
        "s.yaml:12:5: fail_if[2]: 'eror>1': eror is not measured; did you mean error?",
        "s.yaml:13:5: fail_if[3]: 7; this must be text (put it in quotes).",
    ]


def test_what_is_wrong_makes_no_other_mistake_of_what_is_right():
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
        "url", "rate", "requests[0].api", "requests[1].api", "requests[2].model", "requests[3]", "headers.x-key"
    ]  # fmt: skip


REQUESTS = "requests: [{model: m}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url: http://x\n" + REQUESTS, "neither rate, steps nor concurrency"),
        ("url: http://x\nrate: 1\nconcurrency: 2\n" + REQUESTS, "concurrency: rate and concurrency; give one of"),
        ("rate: 1\n" + REQUESTS, "neither url nor targets"),
        ("url: http://x\nrate: 0\n" + REQUESTS, "rate: 0; this must be above 0"),
        ("url: http://x\nconcurrency: 0\n" + REQUESTS, "concurrency: 0; this must be at least 1"),
        ("url: http://x\nsteps: [{rate: 0, seconds: 1}]\n" + REQUESTS, "steps in which nothing arrives"),
        ("url: http://x\nsteps: [{rate: 1, seconds: 1}]\nseconds: 3\n" + REQUESTS, "seconds beside steps"),
        ("url: http://x\nrate: 1\nrequests: []\n", "no request with a weight above 0"),
        ("url: http://x\nrate: 1\nrequests: [{model: m}, {model: m}]\n", "the name chat m is taken already"),
        ("url: http://x\nrate: 1\nrequests: [{model: m, think: 1s}]\n", "think without concurrency"),
        ("url: http://x\nrate: 1\nrequests: [{model: m, cancel: {share: 0.6}, slow: {share: 0.6}}]\n", "exceed 1"),
        ("url: http://x\nrate: 1\nrequests: [{}]\n", "requests[0].model: missing; this is required"),
        ("url: http://x\nrate: 1\nheaders: {x-key: $NOT_SET}\n" + REQUESTS, "NOT_SET is not set"),
        ("url: 'http://u:p4ss@x'\nrate: 1\n" + REQUESTS, "url: a URL with a user name"),
        (
            "url: http://x\nrate: 1\nfail_if: [errors]\n" + REQUESTS,
            "s.yaml:3:11: fail_if[0]: 'errors': this is no cond",
        ),
        ("url: http://x\nrate: 1\nfail_if: [eror>0]\n" + REQUESTS, "fail_if[0]: 'eror>0': eror is not measured; did"),
        ("url: [http://x]\nrate: 1\n" + REQUESTS, "url: a list; this must be text"),
        ("url: http://x\nrate: -1\n" + REQUESTS, "rate: -1; this must be a number"),
        ("url: http://x\nrate: 1\nrequests: nothing\n", "requests: 'nothing'; this must be a list"),
        ("url: 'http://x y?key=p4ss'\nrate: 1\n" + REQUESTS, "'http://x y?…'; this must be a URL"),
        ("targets: {a: 'http://u:p4ss@x?key=p4ss'}\nrate: 1\n" + REQUESTS, "targets.a: a URL with a user name; cred"),
        ("- a list\n", "a list where keys should be"),
        ("", "nothing where keys should be"),
    ],
)
def test_each_mistake_is_told(text, said):
    found = mistakes(text)
    assert len(found) == 1
    assert said in found[0]
    assert "p4ss" not in found[0]
