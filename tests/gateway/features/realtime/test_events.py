"""Frames of OpenAI's realtime API: their usage, and the models that they may request (BerriAI/litellm#40010)."""

import json

import pytest

from gateway.features.realtime.closing import (
    CLIENT_LOST,
    LONGEST_REASON,
    NO_CODE,
    UPSTREAM_LOST,
    Closing,
    closing_for_other_side,
    fit_reason,
)
from gateway.features.realtime.events import OpenAiFrames, error_event
from gateway.features.realtime.notices import (
    FrameRejected,
    OutputPiece,
    ResponseEnded,
    ResponseStarted,
    TranscriptBilled,
)
from gateway.features.realtime.opening import BETA, OfferedProtocols, upstream_protocols, with_offered_keys
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from tests.support.each_row import each_row


class Rule:
    """The rule of a session with the model ``fast``, which may also use one other model."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def provider_name(self, at: str, name: str) -> str:
        self.asked.append((at, name))
        if name not in ("fast", "gpt-realtime"):
            raise GatewayError("permission", "no", param=at)
        return "gpt-realtime"

    def check_other(self, at: str, name: str) -> None:
        self.asked.append((at, name))
        if name != "whisper-1":
            raise GatewayError("permission", "no", param=at)


def client(event, rule=None):
    text = event if isinstance(event, str | bytes) else json.dumps(event)
    return OpenAiFrames().read_client_frame(text, rule or Rule())


def is_refused(frame) -> bool:
    try:
        client(frame)
    except GatewayError:
        return True
    return False


EVENT = '{"type": "response.create", "response": {"model": "another"}}'


@each_row("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@each_row("before", ["", " \n"])
def test_a_binary_event_cannot_be_disguised_as_audio(encoding, before):
    """``json.loads`` of a provider in Python detects these encodings (RFC 4627, section 3)."""
    data = (before + EVENT).encode(encoding)
    assert json.loads(data)["type"] == "response.create"
    assert is_refused(data)
    assert is_refused(data[:-2] + b"}, NaN]}")


def test_raw_audio_may_start_with_any_sample():
    quiet, loud = b"{\x00|\x00" * 100, b" \x00{\x01" * 100
    for audio in (quiet, loud, b"{{{{", b"{\x00", bytes(range(256)), b"\x00\x00{\x00\x01\x00"):
        frame = client(audio)
        assert frame.message == audio
        assert frame.is_audio


def test_frames_without_a_model_pass_unchanged():
    for text in (
        '{"type":"input_audio_buffer.append","audio":"' + "QUJD" * 4000 + '"}',
        '{ "type" : "conversation.item.create", "item": {"model": 1e400, "n": 1.50} }',
        '{"type":"something.new"}',
        "{}",
    ):
        assert client(text).message == text
        assert client(text.encode()).message == text.encode()
    assert client(b"\x00\x01RIFF").message == b"\x00\x01RIFF"
    assert client({"type": "input_audio_buffer.append", "audio": "A" * 6400}).characters in (4, 5)


def test_only_one_event_requests_a_response():
    assert client({"type": "response.create", "event_id": "e1"}).requests_response
    assert client({"type": "response.create", "event_id": "e1"}).event_id == "e1"
    assert client(b'{"ty\\u0070e": "response.create"}').requests_response
    assert not client({"type": "response.cancel"}).requests_response


def test_models_are_replaced_in_place():
    rule = Rule()
    frame = client('{"type":"session.update","session":{"n":1.50,"model":"fast","m":{"a":1}}}', rule)
    assert frame.message == '{"type":"session.update","session":{"n":1.50,"model":"gpt-realtime","m":{"a":1}}}'
    assert rule.asked == [("session.model", "fast")]
    assert client('{"type":"session.update","model":"fast"}').message == (
        '{"type":"session.update","model":"gpt-realtime"}'
    )
    rule = Rule()
    client({"session": {"input_audio_transcription": {"model": "whisper-1"}}}, rule)
    client({"session": {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}}, rule)
    assert rule.asked == [
        ("session.input_audio_transcription.model", "whisper-1"),
        ("session.audio.input.transcription.model", "whisper-1"),
    ]


def test_a_model_that_is_not_allowed_is_refused_however_it_is_written():
    for text in (
        '{"type":"session.update","session":{"model":"other"}}',
        '{"type":"response.create","response":{"model":"other"}}',
        '{"session":{"audio":{"input":{"transcription":{"model":"other"}}}}}',
        '{"session":{"\\u006dodel":"other"}}',
        '{"session":{"Model":"other"}}',
        '{"SESSION":{"model":"other"}}',
        '{"session":{"model":7}}',
        '{"session":{"model":"fast"},"session":{"model":"other"}}',
        '{"type":"a","type":"b"}',
        "[]",
        "no JSON",
        '{"type":',
    ):
        for frame in (text, text.encode()):
            if isinstance(frame, bytes) and not frame.startswith(b"{"):
                continue
            assert is_refused(frame), frame


def test_a_repeated_model_member_is_forwarded_once():
    text = '{"session":{"model":"other","model":"fast","voice":"alloy"}}'
    assert client(text).message == '{"session":{"model":"gpt-realtime","voice":"alloy"}}'


USAGE = {
    "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
                            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0}},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}  # fmt: skip


def notices(event):
    return OpenAiFrames().read_provider_frame(event if isinstance(event, str | bytes) else json.dumps(event))


def test_usage_is_found_in_both_generations_of_events():
    (ended,) = notices({"type": "response.done", "response": {"id": "r1", "status": "completed", "usage": USAGE}})
    assert ended == ResponseEnded("r1", Usage(input=68, cache_read=64, output=121), "completed")
    assert isinstance(ended, ResponseEnded)
    assert ended.usage.units == (("input_audio_token", 13), ("output_audio_token", 91))
    assert notices({"type": "response.created", "response": {"id": "r1"}}) == (ResponseStarted("r1"),)
    for kind in ("response.audio.delta", "response.output_audio.delta"):
        (said,) = notices({"type": kind, "delta": "A" * 8000})
        assert isinstance(said, OutputPiece)
        assert said.characters == 10
    for kind in ("response.text.delta", "response.output_text.delta", "response.output_audio_transcript.delta"):
        assert notices({"type": kind, "delta": "hello"}) == (OutputPiece(5),)
    assert notices({"type": "error", "error": {"event_id": "e1", "message": "m"}}) == (FrameRejected("e1", "m"),)


def test_a_transcription_is_metered_by_tokens_or_by_time():
    kind = "conversation.item.input_audio_transcription.completed"
    (told,) = notices({"type": kind, "usage": {"type": "tokens", "input_tokens": 26, "output_tokens": 7}})
    assert told == TranscriptBilled(Usage(input=26, output=7))
    (told,) = notices({"type": kind, "usage": {"type": "duration", "seconds": 3.2}})
    assert isinstance(told, TranscriptBilled)
    assert told.usage.units == (("second", 4),)
    (told,) = notices({"type": kind, "transcript": "hi"})
    assert told == TranscriptBilled(None)


def test_unknown_events_are_ignored():
    for event in ("no JSON", b"\xff\xfe", "[]", "{}", '{"type":7}', '{"type":"rate_limits.updated"}',
                  '{"type":"response.done"}', '{"type":"response.done","response":{"usage":"x"}}',
                  '{"type":"response.created","response":7}', '{"type":"error"}'):  # fmt: skip
        found = notices(event)
        assert all(not isinstance(one, ResponseEnded) or one.usage is None for one in found), event


def test_errors_of_the_gateway_look_like_those_of_the_provider():
    failed = ErrorInfo("billing", "used up", code="insufficient_quota")
    event = json.loads(error_event(failed, "e1"))
    assert event["type"] == "error"
    assert event["error"] == {
        "type": "invalid_request_error",
        "code": "insufficient_quota",
        "message": "used up",
        "param": None,
        "event_id": "e1",
    }


def test_half_a_character_hides_no_model():
    """Programs that cut text by UTF-16 units send it (openclaw/openclaw#110642)."""
    half = r'"t":"\ud83d"'
    text = '{"type":"response.create",' + half + "}"
    assert (client(text).message, client(text).requests_response) == (text, True)
    assert is_refused('{"session":{"model":"other",' + half + "}}")
    assert is_refused('{"type":"a","type":"b",' + half + "}")
    done = '{"type":"response.done",' + half + ',"response":{"id":"r","usage":{"input_tokens":3}}}'
    assert notices(done) == (ResponseEnded("r", Usage(input=3)),)


def test_too_deeply_nested_events_are_ignored():
    deep = "[" * 1_000_000 + "]" * 1_000_000
    assert notices('{"type":"response.done","response":{"usage":' + deep + "}}") == ()
    wide = '{"type":"response.create",' + ",".join(f'"a{number}":1' for number in range(250_000)) + "}"
    assert is_refused(wide)
    assert notices(wide) == ()
    with pytest.raises((RecursionError, GatewayError)):
        client('{"type":"x","a":' + deep + "}")


# Close codes on their way to the other side (opensandbox-group/OpenSandbox#1640, manaflow-ai/subrouter#79)


def test_every_code_becomes_a_code_that_may_be_sent():
    reserved = {999, 1004, 1006, 1015, 1016, 2000, 2999, 5000, 65535, 0}
    for code in reserved:
        assert closing_for_other_side(code, "why", UPSTREAM_LOST) == UPSTREAM_LOST, code
        assert closing_for_other_side(code, "why", CLIENT_LOST) == CLIENT_LOST, code
    for code in (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4000, 4999):
        assert closing_for_other_side(code, "why", UPSTREAM_LOST) == Closing(code, "why"), code
    assert closing_for_other_side(NO_CODE, "", UPSTREAM_LOST) == Closing(NO_CODE, "")


def test_a_long_reason_is_cut_between_characters():
    assert fit_reason("é" * 62) == "é" * 61
    assert len(closing_for_other_side(1008, "x" * 500, UPSTREAM_LOST).reason) == LONGEST_REASON
    assert fit_reason("\ud800") == "?"


# Keys in subprotocols, as browsers send them (BerriAI/litellm#36151, api7/aisix#721, langwatch/langwatch#7066)


OFFER = "realtime, openai-insecure-api-key.sk-ours-1, openai-organization.org-1, openai-beta.realtime-v1"


def test_the_key_is_moved_from_the_protocols_to_its_header():
    headers = (("host", "h"), ("sec-websocket-protocol", OFFER))
    offered = OfferedProtocols.in_headers(headers)
    assert offered.keys == ("sk-ours-1",)
    assert "sk-ours-1" not in repr(offered)
    assert with_offered_keys(headers, offered) == (
        ("host", "h"),
        ("sec-websocket-protocol", f"realtime, {BETA}"),
        ("authorization", "Bearer sk-ours-1"),
    )
    assert offered.chosen_protocol == "realtime"


def test_the_provider_is_offered_the_protocols_that_it_uses():
    offered = OfferedProtocols.in_headers((("sec-websocket-protocol", OFFER), ("sec-websocket-protocol", "other")))
    assert upstream_protocols(offered, beta=False) == ("realtime",)
    assert upstream_protocols(offered, beta=True) == ("realtime", BETA)


def test_programs_offer_no_protocols():
    offered = OfferedProtocols.in_headers((("authorization", "Bearer k"),))
    assert offered == OfferedProtocols()
    assert offered.chosen_protocol is None
    assert upstream_protocols(offered, beta=True) == ()
    assert with_offered_keys((("authorization", "Bearer k"),), offered) == (("authorization", "Bearer k"),)
