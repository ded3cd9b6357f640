"""The traces that a collector gets from a real gateway."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import opentelemetry.semconv._incubating.attributes.gen_ai_attributes as conventions
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from configfile.keys import part_of
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.features.tracing import tracing
from gateway.features.tracing.feature import TracingKeys
from gateway.features.tracing.spans import request_attributes
from tests.support import websocket_client as ws
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    Gateway,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
    refusing_port,
    running,
)
from tests.support.metrics_page import HEAD, chunk, numbers, reaching
from tests.support.otlp_collector import Collector, Span, serve_collector
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Tokens, render

pytestmark = pytest.mark.slow

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UNTRACED = "0af7651916cd43dd8448eb211c80319c"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, cache_read=5, output=9, reasoning=4))
SERVER, CLIENT = 2, 3  # the numbers of kinds in OTLP; the status is below
ERROR = 2
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with serve_collector() as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def haste() -> Iterator[None]:
    """Let gateways export spans after 20 milliseconds instead of five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield


@pytest.fixture(scope="module")
def gateway(collector, upstream, by_hand) -> Iterator[Gateway]:
    with refusing_port() as refused:
        entries = [
            provider("openai/on-chat", upstream.url, ["chat"]),
            provider("anthropic/on-messages", upstream.url, ["messages"]),
            provider("mistral/by-hand", by_hand.url, ["chat"]),
            provider("groq/*", f"{upstream.url}/v1", ["chat"]),
            provider("deepseek/gone", f"http://127.0.0.1:{refused}", ["chat"]),
            provider("openai/spare", upstream.url, ["chat"]),  # only routes use it, so it is never in cooldown
        ]
        always = {"retries": {"budget": "100%"}}
        aliases = {
            "routed": {"targets": ["gone", "spare"], **always},
            "hedged": {"targets": ["by-hand", "spare"], "hedge": {"after": "300ms", "at_most": "100%"}, **always},
        }
        traced = {"endpoint": collector.url, "random_sampling": 100}
        settings = config(entries, tracing=traced, model_aliases=aliases)
        with gateway_thread(settings) as process:
            yield process


def question(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "a secret question"}], **more}


def ask(gateway: Gateway, model: str, id: str, headers: Mapping[str, str] = {}, **more: Any) -> int:
    return gateway.request("POST", PATHS["chat"], question(model, **more), {**headers, "x-request-id": id}).status


@pytest.mark.parametrize(("model", "target"), [("on-chat", "openai"), ("on-messages", "anthropic")])
def test_a_stream_is_traced_from_its_client_to_its_provider_in_either_lane(gateway, upstream, collector, model, target):
    upstream.script(ANSWER)
    id = f"traced-{model}"
    more = {"stream_options": {"include_usage": True}} if model == "on-chat" else {}
    before = time.time_ns()
    assert ask(gateway, model, id, CONTEXT, stream=True, **more) == 200
    spans = collector.of(id)
    root, call = spans["POST /v1/chat/completions"], spans[f"chat {model}"]
    assert (root.trace, root.parent, root.kind) == (TRACE, PARENT, SERVER)
    assert (call.parent, call.kind) == (root.id, CLIENT)
    assert {spans[name].parent for name in ("wait for the first byte", "stream")} == {call.id}
    assert spans["prepare"].parent == root.id
    # Each part begins at the end of the previous one.
    assert before - 10**9 < root.start <= call.start < call.events["first token"] <= call.end <= root.end
    assert spans["prepare"].start == root.start
    assert spans["wait for the first byte"].end == spans["stream"].start <= call.events["first token"]
    assert spans["stream"].end == call.end
    # The provider gets the context of the call.
    context = upstream.seen[0].header("traceparent")
    assert context == f"00-{TRACE}-{call.id}-01"
    assert [name for name, _ in upstream.seen[0].headers].count("traceparent") == 1
    assert upstream.seen[0].header("tracestate") == "vendor=1"
    # The spans have these attributes.
    assert call.attributes.items() >= {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": target, "gen_ai.request.model": model,
        "gen_ai.request.stream": True, "gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 5, "server.address": "127.0.0.1", "http.response.status_code": 200,
    }.items()  # fmt: skip
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert root.attributes.items() >= {
        "http.request.method": "POST", "http.response.status_code": 200, "url.path": PATHS["chat"],
        "trigate.ended": "complete", "trigate.lane": "byte" if target == "openai" else "hub",
    }.items()  # fmt: skip
    assert root.status == call.status == 0
    assert root.resource["service.name"] == "trigate"


def test_a_new_connection_has_a_span_and_a_pooled_one_has_none(gateway, by_hand, collector):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    body = json.dumps(whole).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    peers: list[Wire] = []

    def serve() -> None:
        peers.append(by_hand.accept())
        for _ in range(2):
            peers[0].read_request()
            peers[0].send(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    assert [ask(gateway, "by-hand", f"connects-{i}") for i in range(2)] == [200, 200]
    thread.join()
    first, second = collector.of("connects-0"), collector.of("connects-1")
    assert first["connect"].parent == first["chat by-hand"].id
    assert first["connect"].end == first["wait for the first byte"].start
    assert "connect" not in second
    assert first["connect"].trace != second["chat by-hand"].trace
    for peer in peers:
        peer.close()


@needs_feature("metrics")
def test_a_wait_for_a_place_in_the_pool_has_a_span(by_hand, collector):
    port = free_port()
    entry = provider("mistral/by-hand", by_hand.url, ["chat"])
    limits = {"upstream_connections": 1}
    with gateway_thread(config([entry], port, tracing={"endpoint": collector.url}, limits=limits), port) as gateway:
        clients = [Wire.connect(port) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(post(PATHS["chat"], question("by-hand", stream=True), {"x-request-id": f"place-{number}"}))
            reaching(gateway, number, "trigate_upstream_queued")
        clients[1].reset()
        reaching(gateway, 1, "trigate_upstream_queued")
        for client in (clients[0], clients[2]):
            with by_hand.accept() as peer:
                peer.read_request()
                peer.send(HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") + chunk("one") + DONE)
                client.read_until(b"[DONE]")
            client.close()
        first, left, second = (collector.of(f"place-{number}") for number in range(3))
    assert "queue" not in first
    # The request was never sent.
    assert left["queue"].end == left["chat by-hand"].end
    assert not {"connect", "wait for the first byte", "stream"} & set(left)
    assert left["POST /v1/chat/completions"].attributes["trigate.attempts"] == 0
    # Each part begins at the end of the preceding one.
    assert second["queue"].parent == second["chat by-hand"].id
    assert second["prepare"].end == second["queue"].start
    assert second["queue"].end == second["connect"].start
    assert second["queue"].end >= first["stream"].start
    assert second["connect"].end == second["wait for the first byte"].start


def test_a_failure_is_an_error_with_its_kind(gateway, collector):
    assert ask(gateway, "gone", "fails") == 502
    spans = collector.of("fails")
    for name in ("POST /v1/chat/completions", "chat gone"):
        assert spans[name].status == ERROR
        assert spans[name].attributes["error.type"] == "upstream"
    assert "stream" not in spans
    assert spans["POST /v1/chat/completions"].attributes["trigate.ended"] == "upstream_error"


def test_each_of_several_attempts_has_a_span_with_its_result(gateway, upstream, collector):
    """Operators could not see fallbacks: BerriAI/litellm#25503."""
    upstream.script(ANSWER)
    assert ask(gateway, "routed", "several-attempts", stream=True) == 200
    call = collector.of("several-attempts")["chat spare"]
    attempts = sorted(collector.children(call, "attempt"), key=lambda span: span.start)
    told = [(one.attributes["trigate.attempt.target"], one.attributes["trigate.attempt.reason"]) for one in attempts]
    assert told == [("deepseek/gone", "connection"), ("openai/spare", "ok")]
    assert [one.status for one in attempts] == [ERROR, 0]
    assert [one.attributes.get("http.response.status_code") for one in attempts] == [None, 200]
    assert [len(collector.children(one, "stream")) for one in attempts] == [0, 1]


def test_an_attempt_next_to_another_one_has_its_own_times(gateway, upstream, by_hand, collector):
    upstream.script(ANSWER)
    with Wire.connect(gateway.port) as client:
        headers = {"x-request-id": "beside-another"}
        client.send(post(PATHS["chat"], question("hedged", stream=True), headers=headers))
        with by_hand.accept() as peer:
            peer.read_request()  # this provider sends nothing, so the second one is faster
            client.read_until(b"[DONE]")
    call = collector.of("beside-another")["chat spare"]
    first, second = sorted(collector.children(call, "attempt"), key=lambda span: span.start)
    assert first.attributes["trigate.attempt.reason"] == "hedge_lost"
    assert "http.response.status_code" not in first.attributes
    assert (second.attributes["trigate.attempt.cause"], second.attributes["trigate.attempt.reason"]) == ("hedge", "ok")
    assert first.start < second.start < first.end <= second.end
    assert [len(collector.children(one, "stream")) for one in (first, second)] == [0, 1]


@needs_feature("responses_websocket")
def test_each_answer_over_a_websocket_is_an_exchange_of_its_client(gateway, upstream, collector):
    upstream.script(ANSWER, ANSWER)
    trace = TRACE[::-1]
    with ws.Client.connect(gateway.port, {"traceparent": f"00-{trace}-{PARENT}-01"}) as client:
        client.ask("on-messages")
        client.ask("on-messages")

    def roots() -> list[Span]:
        return [span for span in collector.spans if span.trace == trace and span.kind == SERVER]

    eventually(lambda: len(roots()) == 2)
    assert {(span.name, span.parent) for span in roots()} == {("POST /v1/responses", PARENT)}
    assert [seen.header("traceparent").split("-")[1] for seen in upstream.seen] == [trace, trace]


def test_a_background_turn_is_traced_to_its_end(gateway, upstream, collector):
    upstream.script(ANSWER)
    begun = gateway.request(
        "POST",
        PATHS["responses"],
        {"model": "on-messages", "input": "hi", "background": True},
        {"x-request-id": "later"},
    )
    assert begun.json["status"] in ("queued", "in_progress")
    spans = collector.of("later")
    assert spans["POST /v1/responses"].attributes["trigate.ended"] == "complete"
    assert spans["chat on-messages"].attributes["gen_ai.usage.output_tokens"] == 9


def test_a_refused_request_has_no_provider_span(gateway, collector):
    assert ask(gateway, "nobody-has-this", "refused") == 404
    spans = collector.of("refused")
    assert set(spans) == {"POST /v1/chat/completions", "prepare"}
    assert spans["POST /v1/chat/completions"].attributes["error.type"] == "not_found"


def test_a_client_that_leaves_ends_its_spans(gateway, by_hand, collector):
    with Wire.connect(gateway.port) as client:
        client.send(post(PATHS["chat"], question("by-hand", stream=True), {"x-request-id": "leaves"}))
        with by_hand.accept() as peer:
            peer.read_request()
            peer.send(HEAD + chunk("un"))
            client.read_until(b"un")
            client.reset()
            spans = collector.of("leaves")
    assert spans["POST /v1/chat/completions"].attributes["trigate.ended"] == "client_disconnected"
    assert spans["POST /v1/chat/completions"].attributes["http.response.status_code"] == 499
    assert spans["chat by-hand"].attributes["trigate.usage_estimated"] is True
    assert spans["chat by-hand"].status == 0


def test_an_untraced_client_has_no_spans_and_its_provider_learns_that(gateway, upstream, collector):
    upstream.script(ANSWER, ANSWER)
    assert ask(gateway, "on-chat", "unsampled", {"traceparent": f"00-{UNTRACED}-{PARENT}-00"}) == 200
    assert upstream.seen[0].header("traceparent").startswith(f"00-{UNTRACED}-")
    assert upstream.seen[0].header("traceparent").endswith("-00")
    assert ask(gateway, "on-chat", "sampled") == 200
    collector.of("sampled")
    assert not [span for span in collector.spans if span.trace == UNTRACED]


def test_spans_contain_no_texts_of_the_conversation(gateway, upstream, collector):
    upstream.script(ANSWER)
    ask(gateway, "on-messages", "quiet", {"x-api-key": "sk-client"})
    collector.of("quiet")
    told = repr(collector.spans)
    assert not [word for word in ("secret question", "two three", "sk-upstream", "sk-client") if word in told]


def test_attribute_names_follow_the_conventions(gateway, upstream, collector):
    upstream.script(ANSWER)
    assert ask(gateway, "on-chat", "words", stream=True, temperature=0.5, max_completion_tokens=9) == 200
    collector.of("words")
    known = {value for name, value in vars(conventions).items() if name.startswith("GEN_AI_")}
    used = {name for span in collector.spans for name in span.attributes if name.startswith("gen_ai.")}
    assert len(used) >= 8
    # The conventions have renamed this attribute (open-telemetry/semantic-conventions-genai#440), before any release.
    assert used <= known | {"gen_ai.usage.cache_write.input_tokens"}


def test_spans_have_the_sampling_settings_sent_to_the_provider(gateway, upstream, collector):
    upstream.script(ANSWER, ANSWER)
    limits = {"temperature": 0.5, "top_p": 1, "seed": 7, "max_completion_tokens": 321}
    assert ask(gateway, "on-chat", "limited", **limits, stop=["a secret word"], presence_penalty=0.25) == 200
    assert collector.of("limited")["chat on-chat"].attributes.items() >= {
        "gen_ai.request.max_tokens": 321, "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 7, "gen_ai.request.presence_penalty": 0.25,
    }.items()  # fmt: skip
    assert ask(gateway, "on-messages", "translated", max_tokens=99) == 200
    assert collector.of("translated")["chat on-messages"].attributes["gen_ai.request.max_tokens"] == 99
    assert "secret" not in repr(collector.spans)


@each_row("body", [b"", b"{", b"[]", b"\xff", b'{"max_tokens": 1e999}', b'{"seed": "7", "n": true}',
                                  b'{"max_tokens": 9223372036854775808, "top_p": null}', b'{"a":' * 9000])  # fmt: skip
def test_a_missing_limit_is_not_in_the_span(body):
    assert request_attributes(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"generation_config":{"max_output_tokens":9,"temperature":0.5,"top_p":1,"seed":7,"stop_sequences":["x"]}}',
        b'{"generationConfig":{"maxOutputTokens":9,"temperature":0.5,"topP":1,"seed":7,"stopSequences":["x"]}}',
        b'{"inferenceConfig":{"maxTokens":9,"temperature":0.5,"topP":1},"seed":7,"generationConfig":[1]}',
    ],
    ids=["interactions", "gemini", "converse"],
)
def test_limits_within_settings_are_attributes(body):
    assert request_attributes(body) == {
        "gen_ai.request.max_tokens": 9, "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 7,
    }  # fmt: skip


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("model", ["on-chat", "on-messages"])
def test_the_answers_own_id_and_model_are_reported(gateway, upstream, collector, model, stream):
    upstream.script(ANSWER)
    api = "chat" if model == "on-chat" else "messages"
    rendered = b"".join(render(ANSWER, api, {"stream": stream, "model": model}).pieces)  # type: ignore[arg-type]
    assert ask(gateway, model, f"named-{model}-{stream}", stream=stream) == 200
    said = collector.of(f"named-{model}-{stream}")[f"chat {model}"].attributes
    assert said["gen_ai.response.model"] == model
    assert said["gen_ai.response.id"]
    assert said["gen_ai.response.id"].encode() in rendered


def test_cache_write_tokens_have_both_attribute_names(gateway, upstream, collector):
    upstream.script(attrs.evolve(ANSWER, tokens=Tokens(prompt=20, cache_read=5, cache_write=6, output=9)))
    assert ask(gateway, "on-messages", "cache-written") == 200
    said = collector.of("cache-written")["chat on-messages"].attributes
    for name in ("cache_write", "cache_creation"):
        assert said[f"gen_ai.usage.{name}.input_tokens"] == 6


@pytest.mark.parametrize("name", ["on-chat", "on-messages"])
def test_an_answer_that_is_cut_finishes_in_error(gateway, upstream, collector, name):
    api = "chat" if name == "on-chat" else "messages"
    pieces = render(ANSWER, api, {"stream": True, "model": name}).pieces  # type: ignore[arg-type]
    upstream.script(Raw(200, STREAM, pieces[:3], "cut"))
    ask(gateway, name, f"cut-{name}", stream=True)
    call = collector.of(f"cut-{name}")[f"chat {name}"]
    assert (call.status, call.attributes["error.type"]) == (ERROR, "upstream")
    assert call.attributes["gen_ai.response.finish_reasons"] == ["error"]
    assert call.attributes["http.response.status_code"] == 200


def test_an_answer_that_never_began_has_no_reason_to_finish(gateway, upstream, collector):
    upstream.script(Raw(429, JSON, (b'{"error": {"message": "slow"}}',)))
    assert ask(gateway, "on-chat", "limited-429") == 429
    assert "gen_ai.response.finish_reasons" not in collector.of("limited-429")["chat on-chat"].attributes


def test_a_key_in_the_wrong_place_is_in_no_span(gateway, collector):
    key = "sk-this-is-somebodys-key"
    ask(gateway, key, f"key-{key}", {"x-api-key": "any"})
    eventually(lambda: any(span.attributes.get("trigate.model") == "[redacted]" for span in collector.spans))
    assert key not in repr(collector.spans)


def test_a_models_name_of_a_megabyte_is_cut_in_every_span(gateway, upstream, collector):
    upstream.script(ANSWER)
    assert ask(gateway, "groq/" + "x" * 1_000_000, "long-name") == 200
    eventually(lambda: any(span.name.startswith("chat xxx") for span in collector.spans))
    (call,) = (span for span in collector.spans if span.name.startswith("chat xxx"))
    assert max(len(call.name), *(len(str(value)) for value in call.attributes.values())) <= 1000
    assert max(len(str(span.attributes.get("trigate.model", ""))) for span in collector.spans) < 1100


@needs_feature("metrics")
@pytest.mark.process
def test_a_silent_collector_delays_no_request_and_its_lost_spans_are_counted(upstream, collector):
    settings = config([provider("openai/on-chat", upstream.url, ["chat"])], tracing={"endpoint": collector.url})
    collector.answering.clear()
    collector.asked.clear()
    with running(settings) as gateway:
        upstream.script(*[ANSWER] * 20)
        assert ask(gateway, "on-chat", "first", stream=True) == 200
        assert collector.asked.wait(15)
        for i in range(10):
            assert ask(gateway, "on-chat", f"unheard-{i}", stream=True) == 200
        assert numbers(gateway)("trigate_exchanges_total", ended="complete") >= 10
        collector.refuse = True
        collector.answering.set()
        eventually(lambda: numbers(gateway)("trigate_spans_dropped_total") > 10)
        eventually(lambda: any("traces are lost" in line for line in gateway.log))
        collector.refuse = False
        ask(gateway, "on-chat", "heard", stream=True)
        collector.of("heard")
        eventually(lambda: any("traces are accepted again" in line for line in gateway.log))
        assert sum("traces are" in line for line in gateway.log) == 2


def test_remaining_spans_are_exported_at_shutdown_with_environment_settings(upstream, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    with gateway_thread(config([provider("openai/on-chat", upstream.url, ["chat"])])) as gateway:
        upstream.script(ANSWER)
        assert ask(gateway, "on-chat", "last", stream=True) == 200
    assert collector.of("last")["chat on-chat"].resource["service.name"] == "ours"


def test_each_of_several_collectors_has_all_spans_and_its_own_headers(upstream, collector, monkeypatch):
    """A silent collector costs the other ones no spans and, at the end, no time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=of-the-first,x-of-all=1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    with serve_collector() as second, serve_collector() as silent:
        silent.answering.clear()
        others = [{"endpoint": silent.url}, {"endpoint": second.url, "headers": {"Authorization": "Basic second"}}]
        traced = {"endpoint": collector.url, "destinations": others}
        with gateway_thread(config([provider("openai/on-chat", upstream.url, ["chat"])], tracing=traced)) as gateway:
            upstream.script(ANSWER)
            assert ask(gateway, "on-chat", "to-all") == 200
        assert "Basic second" not in "".join(gateway.log)
        assert collector.of("to-all").keys() == second.of("to-all").keys()
        sent = [(one.headers[-1].get("authorization"), one.headers[-1].get("x-of-all")) for one in (collector, second)]
        assert sent == [("of-the-first", "1"), ("Basic second", None)]
        assert silent.headers[-1].keys().isdisjoint({"authorization", "x-of-all"})


def test_a_full_queue_drops_and_counts_spans(monkeypatch):
    """The exporter holds the first batch. More spans wait while they fit; the gateway drops and counts the rest."""
    monkeypatch.setattr(tracing, "QUEUED", 20)
    monkeypatch.setattr(tracing, "BATCH", 5)
    took, go_on, exported, dropped = threading.Event(), threading.Event(), [], []

    class Held(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            took.set()
            assert go_on.wait(30)
            exported.extend(spans)
            return SpanExportResult.SUCCESS

    queue = tracing.bounded_processor(Held(), "", dropped.append)
    source = TracerProvider(shutdown_on_exit=False)
    source.add_span_processor(queue)
    tracer = source.get_tracer("test")
    for _ in range(5):
        tracer.start_span("first").end()
    assert took.wait(30)
    began = time.perf_counter()
    for _ in range(100):
        tracer.start_span("more").end()
    assert time.perf_counter() - began < 5
    go_on.set()
    source.shutdown()
    assert (len(exported), sum(dropped)) == (25, 80)


# The configuration


def read_tracing(given: Mapping[str, Any]) -> Any:
    return from_mapping(config([provider("openai/m", "http://x")], 1, tracing=given))


@pytest.mark.parametrize(("given", "share", "endpoint"), [
    ({"random_sampling": 100}, 1.0, None), ({"random_sampling": 0}, 0.0, None),
    ({"endpoint": "http://otel:9999"}, None, "http://otel:9999"),
    ({"opentracing_grpc_endpoint": "http://otel:4317", "random_sampling": 5}, 0.05, "http://otel:4318"),
    ({"opentracing_grpc_endpoint": "http://[::1]:4317"}, None, "http://[::1]:4318"),
    ({"opentracing_grpc_endpoint": "http://otel"}, None, "http://otel:4318"),
    ({"opentracing_grpc_endpoint": "http://a:4317", "endpoint": "http://b"}, None, "http://b"),
])  # fmt: skip
def test_the_keys_of_plano_and_the_own_keys_set_the_collector(given, share, endpoint):
    read = read_tracing(given)
    tracing = part_of(read, TracingKeys).tracing
    assert (tracing.sampling, tracing.endpoint) == (share, endpoint)
    told = [warning for warning in read.warnings if "not gRPC" in warning]
    assert len(told) == ("opentracing_grpc_endpoint" in given and "endpoint" not in given)


@pytest.mark.parametrize(
    "given", [{"random_sampling": 101}, {"endpoint": "otel:4318"}, {"random_sampling": True}, {"x": 1}]
)
def test_mistakes_in_the_settings_are_reported(given):
    with pytest.raises(ConfigError, match="tracing"):
        read_tracing(given)


def test_no_traces_are_sent_if_the_share_is_zero(upstream, collector):
    tracing = {"endpoint": collector.url, "random_sampling": 0}
    with gateway_thread(config([provider("openai/on-chat", upstream.url, ["chat"])], tracing=tracing)) as gateway:
        upstream.script(ANSWER)
        assert ask(gateway, "on-chat", "never", CONTEXT) == 200
        assert upstream.seen[0].header("traceparent") == CONTEXT["traceparent"]  # passed untouched
    assert not [span for span in collector.spans if span.attributes.get("trigate.request_id") == "never"]


@pytest.mark.parametrize(
    ("settings", "environment", "is_reported"),
    [
        ({"endpoint": "http://localhost:4318"}, {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"random_sampling": 0}, {}, False),
        (None, {}, False),
    ],
)
def test_a_check_reports_that_the_sdk_is_missing(monkeypatch, settings, environment, is_reported):
    for name in ["opentelemetry", *(name for name in sys.modules if name.startswith("opentelemetry."))]:
        monkeypatch.setitem(sys.modules, name, None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    root = {} if settings is None else {"tracing": settings}
    found = from_mapping({"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": "k"}], **root})
    assert any("pip install 'trigate[otel]'" in text for text in found.warnings) is is_reported
