"""Traces have a span of each step for the request and one for the response. They have texts of the groups that the
operator lists, after all masks."""

import json

import pytest
import yaml

from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import exchanges, free_port
from tests.support.observed_steps import APIS, ask, settings_for
from tests.support.otlp_collector import Collector, serve_collector
from tests.support.step_gateway import placeholder_of
from tests.support.upstreams import Script, ToolCall

pytestmark = needs_feature("tracing")

PATTERNS = {"patterns": {"bird": "osprey-[0-9]+"}}


@pytest.fixture(scope="module")
def collector():
    with serve_collector() as served:
        yield served


@pytest.fixture(scope="module")
def gateway(upstream, collector, tmp_path_factory):
    port, folder = free_port(), tmp_path_factory.mktemp("traces")
    steps = [
        {
            "use": "./steps.py:words", "name": "restore", "action": "mask", "at": ["request"], "restore": True,
            "for": {"clients": ["restore"]},
        },
        {"use": "./steps.py:words", "name": "refuse", "action": "refuse", "for": {"clients": ["refuse"]}},
        {"use": "regex", "name": "tail", "action": "mask", "for": {"clients": ["stop"]}, "with": PATTERNS},
        {"use": "./steps.py:words", "name": "window", "action": "mask", "hold": 10, "for": {"clients": ["stop"]}},
        {"use": "./steps.py:crash", "name": "broken", "for": {"clients": ["mask"]}, "unchecked": "pass"},
    ]  # fmt: skip
    tracing = {"endpoint": collector.url, "random_sampling": 100, "content": ["research"]}
    file = settings_for(folder, upstream.url, port, steps, tracing=tracing)
    settings = yaml.safe_load(file.read_text())
    settings["client_groups"] = [{"name": "research"}, {"name": "private"}]
    for key in settings["client_keys"]:
        key["group"] = "private" if key["name"] == "plain" else "research"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        with gateway_thread(file, port) as served:
            yield served


def attributes_of(collector: Collector, request_id: str) -> dict[str, dict[str, object]]:
    return {name: dict(span.attributes) for name, span in collector.of(request_id).items()}


@pytest.mark.parametrize("api", [*APIS, "gemini", "converse", "interactions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_listed_group_has_its_messages_with_masks_in_spans(gateway, upstream, collector, api, stream):
    placeholder = placeholder_of("restore", "falcon-12")
    upstream.script(Script(text=f"you said {placeholder}", calls=(ToolCall("call_1", "f", '{"a": 1}'),)))
    _, request_id, body = ask(gateway, "restore", api, "chat", "about falcon-12", stream=stream)
    assert b"falcon-12" in body
    spans = attributes_of(collector, request_id)
    call = spans["chat on-chat"]
    (question,) = json.loads(str(call["gen_ai.input.messages"]))
    assert question == {"role": "user", "parts": [{"type": "text", "content": f"about {placeholder}"}]}
    (answer,) = json.loads(str(call["gen_ai.output.messages"]))
    assert answer["role"] == "assistant"
    assert answer["parts"][0] == {"type": "text", "content": f"you said {placeholder}"}
    assert (answer["parts"][1]["type"], answer["parts"][1]["arguments"]) == ("tool_call", {"a": 1})
    step = spans["step restore"]
    assert (step["trigate.step.at"], step["trigate.step.outcome"], step["trigate.step.findings"]) == (
        "request", "masked", 1,
    )  # fmt: skip
    assert "falcon" not in repr(spans)


def test_other_groups_have_no_texts_in_spans(gateway, upstream, collector):
    upstream.script(Script(text="a private answer"))
    _, request_id, _ = ask(gateway, "plain", "chat", "chat", "a private question", stream=True)
    assert "private q" not in repr(spans := attributes_of(collector, request_id))
    assert "private a" not in repr(spans)
    assert not any(name.startswith("step") for name in spans)


def test_a_refused_text_is_in_no_span_and_a_failed_call_has_its_reason(gateway, upstream, collector):
    _, request_id, _ = ask(gateway, "refuse", "chat", "chat", "about falcon-12", stream=False)
    spans = attributes_of(collector, request_id)
    assert spans["step refuse"]["trigate.step.outcome"] == "refused"
    assert "falcon" not in repr(spans)
    upstream.script(Script(text="fine"))
    _, request_id, _ = ask(gateway, "mask", "chat", "chat", "hi", stream=False)
    spans = attributes_of(collector, request_id)
    assert spans["step broken"]["error.type"] == "error"
    assert exchanges(gateway.log, request_id)[0]["status"] == 200


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_step_has_one_span_for_the_request_and_one_for_the_response(gateway, upstream, collector, api, stream):
    """However many pieces of a stream it checks."""
    upstream.script(Script(text="it is osprey-1 and falcon-2, then osprey-3 and falcon-4, and so on " * 20))
    _, request_id, _ = ask(gateway, "stop", api, "chat", "about falcon-12", stream=stream)
    trace = next(iter(collector.of(request_id).values())).trace
    spans = [one for one in collector.spans if one.trace == trace and one.name.startswith("step ")]
    assert sorted((one.name, one.attributes["trigate.step.at"]) for one in spans) == [
        ("step tail", "request"), ("step tail", "response"), ("step window", "request"), ("step window", "response"),
    ]  # fmt: skip
    by_step = {(one.name, one.attributes["trigate.step.at"]): one for one in spans}
    window = by_step["step window", "response"]
    assert window.attributes["trigate.step.findings"] == 40
    assert (window.attributes["trigate.step.calls"] > 50) is stream
    assert by_step["step tail", "response"].attributes["trigate.step.findings"] == 40
    assert all(one.start <= one.end for one in spans)
