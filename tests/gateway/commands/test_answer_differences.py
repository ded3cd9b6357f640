"""The differences that ``trigate compare`` finds between two responses, and their effect on clients."""

import json

import attrs

from gateway.commands.answer_differences import find_differences
from gateway.commands.compared_answers import ReadResponse, read_response
from gateway.commands.server_requests import ServerRequest, ServerResponse
from streams.answer_differences import AnswerDifference
from tests.support.each_row import each_row

JSON = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"),)
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Oslo"}'}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
REQUEST = ServerRequest("r", "/v1/chat/completions", b"{}", "chat")


def completion(text="Hello", calls=(), finish=None, usage=USAGE, **more):
    message = {"role": "assistant", "content": text, **({"tool_calls": [*calls]} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": finish or ("tool_calls" if calls else "stop")}
    found = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return {**found, **({"usage": usage} if usage else {}), **more}


def whole(value, status=200, headers=()):
    return ServerResponse(status, (*JSON, *headers), value if isinstance(value, bytes) else json.dumps(value).encode())


def failure(status, *headers, **error):
    return whole({"error": {"message": "no", "type": "invalid_request_error", **error}}, status, headers)


def stream(*deltas, usage=USAGE, end=b"data: [DONE]\n\n"):
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [{**common, "choices": [choice]} for choice in choices]
    if usage:
        chunks.append({**common, "choices": [], "usage": usage})
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return ServerResponse(200, SSE, body + end)


def differences(old, new, exact=False, request=REQUEST):
    both = (read_response(request, one) for one in (old, new))
    return {(one.effect, one.part, one.old, one.new) for one in find_differences(*both, exact)}


GOOD = whole(completion())
HELLO = stream({"role": "assistant", "content": "Hel"}, {"content": "lo"})
ERROR = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
FAILED = ServerResponse(200, SSE, ERROR)


@each_row("response", [GOOD, HELLO, failure(429), whole(completion(None, [CALL]))])
def test_equal_responses_have_no_differences(response):
    assert differences(response, response, exact=True) == set()


@each_row(
    ("old", "new", "difference"),
    [
        (GOOD, failure(404), ("breaks", "status", "200", "404")),
        (failure(500), GOOD, ("better", "status", "500", "200")),
        (GOOD, whole(completion(), 201), ("differs", "status", "200", "201")),
        (GOOD, whole(completion(None), 201), ("breaks", "text", "present", "absent")),
        (GOOD, ServerResponse(problem="it refused"), ("breaks", "status", "200", "it refused")),
        (failure(429), failure(400), ("breaks", "status", "429", "400")),  # clients no longer retry
        (failure(400), failure(404), ("differs", "status", "400", "404")),
        (failure(400), whole({"detail": "no"}, 400), ("breaks", "error message", "present", "absent")),
        (failure(400), failure(400, type="other"), ("differs", "error.type", "invalid_request_error", "other")),
        (failure(429, ("retry-after", "3")), failure(429), ("lacks", "header retry-after", "present", "absent")),
        (GOOD, whole(completion(None)), ("breaks", "text", "present", "absent")),
        (GOOD, whole(completion(usage=None)), ("breaks", "usage", "present", "absent")),
        (whole(completion(usage=None)), GOOD, ("better", "usage", "absent", "present")),
        (whole(completion(None, [CALL])), GOOD, ("breaks", "tool calls", "look", "none")),
        (GOOD, whole(completion(finish="length")), ("differs", "finish", "stop", "length")),
        (GOOD, whole(b"<html>"), ("breaks", "grammar of the API", "well formed", "the body is not JSON")),
        (GOOD, HELLO, ("breaks", "content-type", "application/json", "text/event-stream")),
        (HELLO, stream({"content": "Hello"}, usage=None), ("breaks", "usage", "present", "absent")),
        (HELLO, stream({"role": "assistant"}), ("breaks", "text", "present", "absent")),
        (HELLO, FAILED, ("breaks", "end", "complete", "the answer failed")),
        (whole(completion(cost=1)), whole(completion(cost="1")), ("breaks", "member cost", "number", "string")),
        (whole(completion(tier={"a": 1})), GOOD, ("lacks", "member tier", "object", "absent")),
    ],
)
def test_each_difference_has_its_effect(old, new, difference):
    assert difference in differences(old, new)


def test_a_stream_without_its_end_breaks_clients():
    cut = ServerResponse(200, SSE, HELLO.body.partition(b'data: {"id"')[0] + HELLO.body[:200].rpartition(b"\n\n")[0])
    assert any(effect == "breaks" and part == "grammar of the API" for effect, part, *_ in differences(HELLO, cut))


def test_a_stream_without_its_last_marker_is_a_difference():
    unmarked = attrs.evolve(HELLO, body=HELLO.body.removesuffix(b"data: [DONE]\n\n"))
    assert differences(HELLO, unmarked) == {("differs", "grammar of the API", "well formed", "chat.end")}
    assert differences(unmarked, unmarked) == set()


def test_a_kind_of_event_that_a_stream_no_longer_has_is_a_difference():
    old, new = (
        ReadResponse(HELLO, names=frozenset(names), is_stream=True) for names in (("start", "done"), ("start",))
    )
    assert find_differences(old, new, False) == (AnswerDifference("differs", "event done", "present", "absent"),)
    assert find_differences(new, old, False) == ()


def test_texts_and_tokens_are_compared_only_if_they_must_be_equal():
    other = whole(completion("Goodbye", usage={**USAGE, "completion_tokens": 3, "total_tokens": 12}))
    assert differences(GOOD, other) == set()
    assert differences(GOOD, other, exact=True) == {
        ("breaks", "text", "Hello", "Goodbye"),
        ("differs", "usage: output tokens", "2", "3"),
    }


def test_the_spaces_of_arguments_are_no_difference():
    spaced = whole(completion(None, [{**CALL, "function": {"name": "look", "arguments": '{"at":"Oslo"}'}}]))
    broken = whole(completion(None, [{**CALL, "function": {"name": "look", "arguments": '{"at":'}}]))
    assert differences(whole(completion(None, [CALL])), spaced, exact=True) == set()
    assert ("breaks", "arguments of look", "JSON", "not JSON") in differences(whole(completion(None, [CALL])), broken)


def test_headers_of_a_gateway_about_itself_are_no_difference():
    old = whole(
        completion(), headers=(("x-litellm-version", "1.80"), ("x-litellm-model-api-base", "https://a.example"))
    )
    assert differences(old, whole(completion())) == set()


def test_costs_are_compared_up_to_rounding():
    costs = [whole(completion(), headers=(("x-litellm-response-cost", cost),)) for cost in ("0.00100", "1e-3", "0.002")]
    ours = whole(completion(), headers=(("x-trigate-cost", "0.001"),))
    assert {part for _, part, *_ in differences(costs[0], ours)} == {"header x-litellm-response-cost"}
    assert differences(costs[0], costs[1]) == set()
    assert ("differs", "cost in dollars", "0.00100", "0.002") in differences(costs[0], costs[2])


def test_a_model_that_the_new_server_does_not_list_breaks_clients():
    models = ServerRequest("models", "/v1/models", b"", method="GET")
    old, new = (whole({"object": "list", "data": [{"id": name} for name in names]}) for names in ("ab", "bc"))
    assert differences(old, new, request=models) == {
        ("breaks", "model name a", "present", "absent"),
        ("differs", "model name c", "absent", "present"),
    }


def test_other_endpoints_are_compared_by_their_members():
    embeddings = ServerRequest("e", "/v1/embeddings", b"{}")
    old = whole({"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 1}})
    new = whole({"data": [{"embedding": "AAAA"}]})
    assert differences(old, new, request=embeddings) == {
        ("breaks", "member data[].embedding", "list", "string"),
        ("lacks", "member usage", "object", "absent"),
    }
