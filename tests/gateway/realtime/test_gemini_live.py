"""Messages of Gemini Live (https://ai.google.dev/api/live): the model in the first, and what a turn took."""

import json

import pytest

from gateway.realtime.gemini_live import GeminiFrames, asked_for
from gateway.realtime.notices import ResponseEnded, Resumable, Spoken
from streams.errors import GatewayError
from streams.events import Usage


class Rule:
    def own(self, at: str, name: str) -> str:
        assert (at, name) == ("setup.model", "live")
        return "gemini-live-2.5"

    def further(self, at: str, name: str) -> None:
        raise AssertionError(at)


def test_the_model_is_in_the_first_message_text_or_binary():
    setup = {"setup": {"model": "models/live", "generationConfig": {"n": 1}}}
    for message in (json.dumps(setup), json.dumps(setup).encode()):
        assert asked_for(message) == ("live", None)
        sent = GeminiFrames().from_client(message, Rule()).message
        assert type(sent) is type(message)
        assert json.loads(sent) == {"setup": {"model": "models/gemini-live-2.5", "generationConfig": {"n": 1}}}
    for wrong in (
        "{}",
        '{"setup":{}}',
        '{"setup":7}',
        "[]",
        b"\xff",
        '{"clientContent":{}}',
        '{"Setup":{"model":"x"}}',
    ):
        with pytest.raises(GatewayError):
            asked_for(wrong)
    resumed = {"setup": {"model": "models/live", "sessionResumption": {"handle": "h1"}}}
    assert asked_for(json.dumps(resumed)) == ("live", "h1")
    assert GeminiFrames().from_client('{"clientContent":{}}', Rule()).message == '{"clientContent":{}}'


def test_a_turn_took_what_its_last_usage_says():
    frames = GeminiFrames()
    assert frames.from_provider(b'{"setupComplete":{}}') == ()
    assert frames.from_provider('{"sessionResumptionUpdate":{"newHandle":"h"}}') == (Resumable("h"),)
    assert frames.from_provider('{"sessionResumptionUpdate":{}}') == ()
    assert frames.from_provider('{"goAway":{"timeLeft":"50s"}}') == ()
    (said,) = frames.from_provider(json.dumps({"serverContent": {"modelTurn": {"parts": [{"text": "x" * 3200}]}}}))
    assert isinstance(said, Spoken)
    first = {"usageMetadata": {"promptTokenCount": 10, "responseTokenCount": 1}}
    last = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "responseTokenCount": 7, "thoughtsTokenCount": 2}
    assert frames.from_provider(json.dumps(first)) == ()
    assert frames.from_provider(json.dumps({"serverContent": {"turnComplete": True}, "usageMetadata": last})) == (
        ResponseEnded(None, Usage(input=6, cache_read=4, output=9, reasoning=2), "complete"),
    )
    assert frames.rest() == ()
    by_sense = [{"modality": "AUDIO", "tokenCount": 8}, {"modality": "TEXT", "tokenCount": 2}]
    frames.from_provider(json.dumps({"usageMetadata": {"promptTokenCount": 10, "promptTokensDetails": by_sense}}))
    (ended,) = frames.rest()
    assert isinstance(ended, ResponseEnded)
    assert ended.usage is not None
    assert ended.usage.units == (("input_audio_token", 8),)
    assert frames.rest() == ()
    frames.from_provider(json.dumps(first))
    assert frames.rest() == (ResponseEnded(None, Usage(input=10, output=1), "cut"),)
