"""The writer for Responses clients."""

import json
from typing import get_args

from openai.types.responses import Response, ResponseError

from providers.neutral.codec import Reply
from providers.neutral.request import Tool, ToolCallPart
from providers.responses import RESPONSES
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import RefusalBlock, TextBlock, fold
from tests.support.block_events import call_events, refusal_events, text_events, thought_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.responses_requests import assistant, items
from tests.support.responses_streams import HELLO, ISSUER, encode_event, read, reply, sdk_response, write_events


def test_a_text_has_all_events() -> None:
    """Codex: "OutputTextDelta without active item" (BerriAI/litellm#22102, Oaklight/llm-rosetta#56); every event
    is numbered (BerriAI/litellm#28899), which ``written`` checks here and everywhere."""
    events = write_events([*HELLO, AnswerEnd("stop")])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[4]["logprobs"] == []
    response = events[-1]["response"]
    assert response["model"] == "my-model"
    assert response["usage"] == {
        "input_tokens": 6,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 11,
    }
    assert sdk_response(events).output_text == "Hello\u2028\x85"


def test_the_terminal_event_states_how_the_answer_ended() -> None:
    """router-for-me/CLIProxyAPI#2358, caidaoli/ccLoad#59: whatever happens, one terminal event."""
    for end, status, details in [
        (AnswerEnd("stop"), "completed", None),
        (AnswerEnd("pause"), "completed", None),
        (AnswerEnd("stop_sequence", stop_sequence="x"), "completed", None),
        (AnswerEnd("length"), "incomplete", {"reason": "max_output_tokens"}),
        (AnswerEnd("context_exceeded"), "incomplete", {"reason": "max_output_tokens"}),
        (AnswerEnd("refusal"), "incomplete", {"reason": "content_filter"}),
        (AnswerEnd("length", "steered"), "incomplete", {"reason": "steered"}),
    ]:
        with case((end, status, details)):
            response = write_events([*HELLO, end])[-1]["response"]
            assert (response["status"], response["incomplete_details"]) == (status, details)
            assert response["output"][0]["status"] == status


@each_row("kind", ["text", "call", "custom", "thought"])
def test_the_item_that_was_being_made_when_the_answer_was_cut_is_incomplete(kind) -> None:
    """``ResponseFunctionToolCall.status`` of the openai package; a client that runs a call of which half is missing
    runs another one (katanemo/plano#791)."""
    calls = call_events(0, "{}", id="c0")
    cut: dict[str, list[Event]] = {
        "text": [TextDelta(1, "hal")],
        "call": [ToolCallStart(1, "c1", "f"), ToolCallDelta(1, '{"a":')],
        "custom": [ToolCallStart(1, "c1", "own", "custom"), ToolCallDelta(1, "SELE")],
        "thought": [ReasoningDelta(1, "hm")],
    }
    to = reply(tools=(Tool("f"), Tool("own", kind="custom")))
    for reason in ("length", "stop"):
        events = [AnswerStart(), *calls, *cut[kind], BlockEnd(1), Usage(1, output=1), AnswerEnd(reason)]
        found = write_events(events, to)
        whole = json.loads(RESPONSES.write_answer(fold(events), to))["output"]
        said = [event["item"] for event in found if event["type"] == "response.output_item.done"]
        last = "incomplete" if reason == "length" else "completed"
        for output in (found[-1]["response"]["output"], whole, said):
            assert [item.get("status") for item in output] == ["completed", last]


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


def test_text_blocks_that_follow_each_other_are_parts_of_one_message() -> None:
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


def test_encrypted_reasoning_of_this_api_passes_unchanged() -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAAA"}
    found = write_events([AnswerStart(), *thought_events(0, api="responses", item=item), AnswerEnd("stop")])
    assert found[-1]["response"]["output"] == [item]


def test_reasoning_that_went_out_under_an_id_of_ours_comes_back_as_the_item_it_was() -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAAA"}
    found = write_events([AnswerStart(), *thought_events(0, "hm", api="responses", item=item), AnswerEnd("stop")])
    output = found[-1]["response"]["output"]
    restored, dropped = RESPONSES.restore({"input": output}, ISSUER)
    assert (restored, dropped) == ({"input": [item]}, ())


def test_a_custom_tool_that_was_called_as_a_function_gets_its_bare_text() -> None:
    """BerriAI/litellm#31571, Anionex/agent-vision-toolkit#6: models wrap it in several ways, or not at all."""
    for pieces, text in [
        (['{"inp', 'ut":"*** Begin\\n"}'], "*** Begin\n"),
        (['{"patch":"p"}'], "p"),
        (['"quoted"'], "quoted"),
        (["*** Begin", " Patch"], "*** Begin Patch"),
        (['{"other":1}'], '{"other":1}'),
        ([], ""),
    ]:
        with case((pieces, text)):
            tools = (Tool("apply_patch", kind="custom"),)
            events = [AnswerStart(), *call_events(0, *pieces, id="c", name="apply_patch")]
            found = write_events([*events, AnswerEnd("tool_calls")], reply(tools=tools))
            (item,) = found[-1]["response"]["output"]
            assert (item["type"], item["input"], item["id"][:4]) == ("custom_tool_call", text, "ctc_")
            answer = json.loads(RESPONSES.write_answer(fold([*events, AnswerEnd("tool_calls")]), reply(tools=tools)))
            assert answer["output"][0]["input"] == text


def test_custom_input_streams_when_the_provider_has_custom_tools() -> None:
    found = write_events(
        [AnswerStart(), *call_events(0, '{"input":1}', id="c", name="sql", kind="custom"), AnswerEnd("stop")]
    )
    assert [e["delta"] for e in found if "delta" in e] == ['{"input":1}']
    assert found[-1]["response"]["output"][0]["input"] == '{"input":1}'


def test_a_flat_name_is_a_name_in_its_namespace_again() -> None:
    body = {
        "model": "m", "input": "x",
        "tools": [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "f"}]}],
    }  # fmt: skip
    to = Reply(RESPONSES.read_request(body), ISSUER, 1)
    events = [AnswerStart(), *call_events(0, id="c", name="ns__f"), *call_events(1, id="d", name="other__f")]
    found = write_events([*events, AnswerEnd("tool_calls")], to)
    names = [(item["name"], item.get("namespace")) for item in found[-1]["response"]["output"]]
    assert names == [("f", "ns"), ("other__f", None)]
    added_names = [e["item"]["name"] for e in found if e["type"] == "response.output_item.added"]
    assert added_names == ["f", "other__f"]


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


def test_nothing_follows_the_end() -> None:
    writer = RESPONSES.writer(reply())
    assert writer.send(AnswerEnd("stop"))
    assert writer.send(TextDelta(0, "late")) == writer.send(ErrorInfo("upstream", "late")) == b""


# The grammar, entry by entry


def test_a_refusal_is_no_text() -> None:
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


def test_a_failure_has_the_providers_code_or_one_that_the_sdk_knows() -> None:
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


def test_phases_are_never_invented() -> None:
    (item,) = write_events([*HELLO, AnswerEnd("stop")])[-1]["response"]["output"]
    assert "phase" not in item


@each_row("blank", ["", " ", " \n\t"])
def test_arguments_that_are_blank_are_an_empty_object_streamed_or_not(blank: str) -> None:
    """Clients parse what they get, put together (su-kaka/gcli2api#406), and so do providers what comes back."""
    pieces = [ToolCallDelta(0, piece) for piece in blank]
    events = [AnswerStart(), ToolCallStart(0, "c", "f"), *pieces, BlockEnd(0), AnswerEnd("tool_calls")]
    found = write_events(events)
    whole = json.loads(RESPONSES.write_answer(fold(events), reply()))["output"][0]["arguments"]
    streamed = found[-1]["response"]["output"][0]["arguments"]
    assert json.loads(streamed) == json.loads(whole) == {}
    assert "".join(event["delta"] for event in found if "delta" in event) == streamed
    (call,) = items(assistant(ToolCallPart("c", "f", blank)))
    assert call["arguments"] == "{}"
