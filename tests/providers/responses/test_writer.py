"""The writer for Responses clients."""

import json
from typing import get_args

from openai.types.responses import Response, ResponseError

from providers.neutral.codec import Reply
from providers.responses import RESPONSES
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    NativeItem,
    TextDelta,
)
from streams.fold import RefusalBlock, TextBlock, fold
from tests.support.block_events import call_events, refusal_events, text_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.responses_streams import HELLO, ISSUER, encode_event, read, reply, sdk_response, write_events


def test_a_call_followed_by_another_event_is_complete() -> None:
    """Also where the client does not see what follows."""
    call = [AnswerStart(), *call_events(0, "{}", id="c0")]
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    for after in (
        [TextDelta(1, "b"), BlockEnd(1)],
        [NativeItem(1, "messages", "x", {})],
        [NativeItem(1, "responses", "x", search)],
    ):
        events = [*call, *after, AnswerEnd("length")]
        whole = json.loads(RESPONSES.write_answer(fold(events), reply()))["output"]
        for output in (write_events(events)[-1]["response"]["output"], whole):
            assert output[0]["status"] == "completed"
    writer = RESPONSES.writer(reply())
    for event in call:
        writer.send(event)
    assert [item["status"] for item in writer.interrupted_response("cancelled")["output"]] == ["completed"]
    failed = write_events([*call, ErrorInfo("upstream", "gone")])
    assert [item["status"] for item in failed[-1]["response"]["output"]] == ["completed"]


@each_row(
    ("item", "status"),
    [
        (NativeItem(1, "messages", "x", {}), "incomplete"),  # the client does not get it, so that the call is last
        (NativeItem(1, "responses", "x", {"type": "x", "id": "x_1"}), "completed"),
    ],
)
def test_a_call_around_another_item_has_one_status_in_streams_and_whole_answers(item, status) -> None:
    first, *rest = call_events(0, '{"a": 1}', id="c0")
    events = [AnswerStart(), first, item, *rest, AnswerEnd("length")]
    whole = json.loads(RESPONSES.write_answer(fold(events), reply()))["output"]
    streamed = write_events(events)[-1]["response"]["output"]
    assert [one[0]["status"] for one in (whole, streamed)] == [status] * 2


def test_consecutive_text_blocks_are_parts_of_one_message() -> None:
    cited = Citation(1, "messages", {"type": "web_search_result_location", "url": "https://x.test", "title": "X"})
    lost = Citation(1, "messages", {"type": "char_location", "cited_text": "c"})
    events = [
        AnswerStart(), *text_events(0, "a"), TextDelta(1, "bcd"), cited, lost, BlockEnd(1), *refusal_events(2, "no"),
    ]  # fmt: skip
    found = write_events([*events, AnswerEnd("stop")])
    (item,) = found[-1]["response"]["output"]
    note = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 3}
    assert [part.get("annotations") for part in item["content"]] == [[], [note], None]
    assert [event["annotation"] for event in found if "annotation" in event] == [note]
    assert list(fold(read(b"".join(map(encode_event, found)))).blocks) == [
        TextBlock("a"), TextBlock("bcd", (Citation(1, "responses", note),)), RefusalBlock("no"),
    ]  # fmt: skip


def test_the_response_repeats_the_request_and_parses_as_the_sdks_type() -> None:
    """Clients read the answer from here: "missing field `format`" (Oaklight/llm-rosetta#56, BerriAI/litellm#28899)."""
    body = {
        "model": "m", "input": "x", "instructions": "Be\u2028brief.", "temperature": 0.5, "tool_choice": "required",
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}],
        "text": {"verbosity": "low"}, "reasoning": {"effort": "low"}, "metadata": {"a": "b"}, "max_output_tokens": 99,
    }  # fmt: skip
    to = Reply(RESPONSES.read_request(body), ISSUER, 1)
    response = write_events([*HELLO, AnswerEnd("stop")], to)[-1]["response"]
    typed = Response.model_validate(response)
    assert typed.instructions == "Be\u2028brief."
    assert (typed.temperature, typed.tool_choice, typed.max_output_tokens) == (0.5, "required", 99)
    assert typed.metadata == {"a": "b"}
    assert response["text"] == {"verbosity": "low", "format": {"type": "text"}}
    assert response["tools"][0]["strict"] is False
    Response.model_validate(
        write_events([*HELLO, AnswerEnd("stop")], reply(api="chat", source={"tools": "x"}))[-1]["response"]
    )


# The grammar, entry by entry


def test_a_refusal_is_not_text() -> None:
    found = write_events([AnswerStart(), *refusal_events(0, "I ", "won't"), AnswerEnd("refusal")])
    assert [event["type"].removeprefix("response.") for event in found[2:]] == [
        "output_item.added", "content_part.added", "refusal.delta", "refusal.delta", "refusal.done",
        "content_part.done", "output_item.done", "incomplete",
    ]  # fmt: skip
    assert found[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I won't"}]


def test_log_probabilities_are_in_every_event_with_the_text() -> None:
    tokens = [
        {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": []},
        {"token": "lo", "logprob": -0.25, "bytes": None,
         "top_logprobs": [{"token": "p", "logprob": -2.0, "bytes": None}]},
    ]  # fmt: skip
    whole = [tokens[0], {**tokens[1], "bytes": [], "top_logprobs": [{"token": "p", "logprob": -2.0, "bytes": []}]}]
    events = [
        AnswerStart(), TextDelta(0, "Hel", tokens[:1]), TextDelta(0, "lo", tokens[1:]), *text_events(0, "!"),
        AnswerEnd("stop"),
    ]  # fmt: skip
    found = write_events(events)
    deltas = [event["logprobs"] for event in found if event["type"] == "response.output_text.delta"]
    assert deltas == [whole[:1], whole[1:], []]
    done = next(event for event in found if event["type"] == "response.output_text.done")
    part = next(event for event in found if event["type"] == "response.content_part.done")["part"]
    final = found[-1]["response"]["output"][0]["content"][0]
    assert done["logprobs"] == part["logprobs"] == final["logprobs"] == whole
    told = json.loads(RESPONSES.write_answer(fold(events), reply()))["output"][0]["content"][0]
    assert told["logprobs"] == whole
    typed = sdk_response(found).output[0].content[0].logprobs
    assert [(one.token, one.logprob) for one in typed] == [("Hel", -0.5), ("lo", -0.25)]


def test_a_failure_has_the_providers_code_or_one_that_the_sdk_has() -> None:
    """Never a bare close, after which Codex reconnects five times (router-for-me/CLIProxyAPI#1407,
    farion1231/cc-switch#2750)."""
    for failed, code in [
        (ErrorInfo("rate_limited", "m"), "rate_limit_exceeded"),
        (ErrorInfo("invalid_request", "m"), "invalid_prompt"),
        (ErrorInfo("overloaded", "m"), "server_error"),
        (ErrorInfo("timeout", "m"), "server_error"),
        (ErrorInfo("upstream", "m"), "server_error"),
        (ErrorInfo("internal", "m"), "server_error"),
        (ErrorInfo("rate_limited", "m", code="insufficient_quota"), "insufficient_quota"),
    ]:
        with case((failed, code)):
            for before in ([], HELLO, [AnswerStart(), TextDelta(0, "x")]):
                last = write_events([*before, failed, AnswerEnd("stop")])[-1]
                assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
                assert last["response"]["error"] == {"code": code, "message": "m"}
            known = get_args(ResponseError.model_fields["code"].annotation)
            assert failed.code or code in known


def test_a_response_claims_no_state_that_is_not_stored() -> None:
    body = {"model": "m", "input": "x", "store": True, "previous_response_id": "resp_1", "background": True}
    response = write_events([*HELLO, AnswerEnd("stop")], Reply(RESPONSES.read_request(body), ISSUER, 1))[-1]["response"]
    assert (response["store"], response["previous_response_id"], response["background"]) == (False, None, False)
