"""The words with which providers end an answer: a cut or failed answer never looks complete, in any lane.

vLLM's ``abort``, DeepSeek's ``insufficient_system_resource`` and GLM's ``network_error`` read as ``end_turn``,
``completed`` and ``STOP`` (vllm-project/vllm#57082, can1357/oh-my-pi#8563, NousResearch/hermes-agent#92161).
"""

import json
from collections.abc import Iterator

import pytest

from gateway.streaming.lane import Lane
from providers.apis import CODECS
from providers.grammar import judge
from providers.neutral.complete_choices import MAX_ARGUMENTS
from providers.neutral.ends import ENDS, Failed
from streams.events import AnswerEnd, Usage
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.lanes import SCRIPTS, byte_lane, events_of, hub_lane, whole_lane
from tests.support.scripts import pieces
from tests.support.upstreams import ANSWERS, Script, ToolCall

USUAL = {
    "chat": b'"finish_reason": "stop"',
    "messages": b'"stop_reason": "end_turn"',
    "responses": b'"status": "completed"',
    "gemini": b'"finishReason": "STOP"',
}
"""The end of a scripted answer by API. Converse's frames have checksums, and Interactions' words are statuses."""


def failures() -> Iterator[tuple[str, str]]:
    """Yield the API and the word of each end that is a failure."""
    for api in USUAL:
        words = [word for word, meaning in ENDS[api].items() if isinstance(meaning, Failed)]
        yield from ((api, word) for word in words if (api, word) != ("responses", "cancelled"))  # its own status


def with_end(api: str, data: bytes, word: str) -> bytes:
    """Return an answer of ``api`` that ends with ``word``."""
    usual = USUAL[api]
    return data.replace(usual, usual[: usual.rindex(b' "')] + b' "' + word.encode() + b'"')


def lanes(api: str, client: str) -> Iterator[tuple[str, Lane]]:
    yield "hub", hub_lane(api, client)
    if api == client:
        yield "byte", byte_lane(api)


@each_row("client", CODECS)
def test_a_failure_at_the_end_of_a_stream_is_an_error_of_the_clients_api(client):
    for api, word in failures():
        data = with_end(api, b"".join(events_of(api, SCRIPTS["text"])), word)
        for name, lane in lanes(api, client):
            with case((api, word, name)):
                out = lane.feed(data) + lane.end()
                assert lane.progress.error is not None
                if api == client == "gemini":
                    continue  # its own clients know the word
                verdict = judge(client, out, streamed=True)
                assert verdict.outcome == "failed"
                assert name == "byte" or verdict.broken is None


@each_row("client", CODECS)
def test_usage_after_the_word_of_a_failure_is_billed(client):
    """OpenAI's own form: a last chunk without choices has the usage."""
    data = with_end("chat", b"".join(events_of("chat", SCRIPTS["text"])), "abort")
    used = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\ndata: [DONE]\n\n'
    for name, lane in lanes("chat", client):
        with case(name):
            out = lane.feed(data) + lane.feed(used) + lane.end()
            assert lane.progress.unsent_usage() == Usage(input=5, output=7)
            assert judge(client, out, streamed=True).outcome == "failed"


@each_row("client", CODECS)
def test_a_failure_at_the_end_of_a_whole_answer_is_an_error_in_the_clients_stream(client):
    for api, word in failures():
        body = with_end(api, json.dumps(ANSWERS[api](SCRIPTS["text"], "up")).encode(), word)
        with case((api, word)):
            lane = whole_lane(api, client)
            out = lane.feed(body) + lane.end()
            assert judge(client, out, streamed=True).outcome == "failed"


def test_words_of_routers_and_makers_keep_their_meaning_for_other_clients():
    """Vercel's gateway writes the words of its AI SDK, gateways of Bedrock those of its guardrails
    (pydantic/pydantic-ai#7816). Xiaomi's models stop when they repeat themselves."""
    refusals = ("content-filter", "guardrail_intervened", "content_filtered")
    words = {**dict.fromkeys(refusals, "refusal"), "end": "end_turn"}
    words |= dict.fromkeys(("repetition_truncation", "incomplete", "max_output_tokens"), "max_tokens")
    for word, read in words.items():
        data = with_end("chat", b"".join(events_of("chat", SCRIPTS["text"])), word)
        with case(word):
            assert b'"stop_reason":"%s"' % read.encode() in hub_lane("chat", "messages").feed(data)


@pytest.mark.parametrize("api", ["chat", "messages", "gemini"])
def test_an_unknown_end_is_complete_only_after_content(api):
    """The next unknown word of GLM and vLLM must neither break an answer nor complete an empty one."""
    for script, is_complete in ((SCRIPTS["text"], True), (Script(), False)):
        data = with_end(api, b"".join(events_of(api, script)), "SOMETHING_NEW")
        for name, lane in lanes(api, api):
            with case((is_complete, name)):
                out = lane.feed(data) + lane.end()
                assert (lane.progress.error is None) == is_complete
                assert judge(api, out, streamed=True).outcome == ("complete" if is_complete else "failed")
                if is_complete:
                    assert isinstance(lane.progress.end, AnswerEnd)
                    assert (lane.progress.end.is_known, lane.progress.end.raw) == (False, "SOMETHING_NEW")
                    assert (b"SOMETHING_NEW" in out) == (name == "byte")


@pytest.mark.parametrize("api", ["chat", "messages", "converse", "interactions"])
@each_row("client", CODECS)
def test_a_call_that_lost_a_piece_of_its_arguments_is_a_failure(api, client):
    """Responses repeats the arguments, so that nothing is lost there."""
    arguments = '{"city": "Zurich on the lake"}'
    lost = json.dumps(pieces(arguments)[2])[1:-1].encode()
    calls = (ToolCall("call_1", "f", "{}"), ToolCall("call_2", "get_weather", arguments))
    sent = events_of(api, Script(calls=calls, stop="tool_calls"))
    assert any(lost in piece for piece in sent)
    data = b"".join(piece for piece in sent if lost not in piece)
    for name, lane in lanes(api, client):
        with case(name):
            out = lane.feed(data) + lane.end()
            assert "get_weather with arguments that are not a JSON object" in lane.progress.error.message
            assert judge(client, out, streamed=True).outcome == "failed"


def test_a_wrapped_text_that_lost_a_piece_is_a_failure():
    for written, fails in (('{"input": "*** Begin', True), (' {"input"', True), ("*** Begin", False), ('"a"', False)):
        lane = hub_lane("chat", "responses", free_text={"apply_patch"})
        script = Script(calls=(ToolCall("call_1", "apply_patch", written),), stop="tool_calls")
        lane.feed(b"".join(events_of("chat", script)))
        with case(written):
            assert (lane.progress.error is not None) == fails


def test_calls_without_arguments_and_calls_cut_by_the_limit_are_no_failures():
    for script in (
        Script(calls=(ToolCall("call_1", "f", ""),), stop="tool_calls"),
        Script(calls=(ToolCall("call_1", "f", '{"city'),), stop="length"),
        Script(calls=(ToolCall("call_1", "f", "[" + "1" * MAX_ARGUMENTS),), stop="tool_calls"),  # too large to hold
    ):
        lane = byte_lane("chat")
        lane.feed(b"".join(events_of("chat", script)))
        assert (lane.progress.error, lane.progress.over) == (None, True)
