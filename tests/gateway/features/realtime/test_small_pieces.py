"""Audio and text in small pieces, as programs send them, count as much as in one: an estimated answer is never free."""

import json
from collections.abc import Iterator

import pytest

from gateway.features.realtime.events import OpenAiFrames
from gateway.features.realtime.gemini_live import GeminiFrames
from gateway.features.realtime.live import LiveFrames
from gateway.features.realtime.notices import FrameReader, OutputPiece
from tests.support.each_row import each_row
from tests.support.realtime_sessions import BEARER, GEMINI, KEY, LIVE, PRICE, serve_sessions
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer

SECONDS = 10
PIECES = 50 * SECONDS  # of 20 ms, as telephones and browsers send them
SHORTER = 2  # the part of the audio that a whole session has
AUDIO = 1280 * PIECES  # characters of base64, of 24 kHz 16-bit audio


class Rule:
    """A rule that allows every model."""

    def provider_name(self, at: str, name: str) -> str:
        return name

    def check_other(self, at: str, name: str) -> None:
        pass


def openai_input(data: str) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": data})


def raw_input(data: str) -> bytes:
    return data.encode()


def live_input(data: str) -> str:
    return json.dumps({"type": "session.input_audio.append", "audio": data})


def gemini_input(data: str) -> str:
    return json.dumps({"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": data}}})


def python_input(data: str) -> str:
    """Return the frame of Google's Python SDK, which writes names in snake case."""
    return json.dumps({"realtime_input": {"media_chunks": [{"mime_type": "audio/pcm", "data": data}]}})


def openai_output(data: str) -> str:
    return json.dumps({"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "i", "delta": data})


def translated_output(data: str) -> str:
    return json.dumps({"type": "session.output_audio.delta", "delta": data})


def gemini_output(data: str) -> str:
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
    return json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}})


def gemini_text(data: str) -> str:
    return json.dumps({"serverContent": {"modelTurn": {"parts": [{"text": data}]}}})


def text_input(data: str) -> str:
    return json.dumps({"realtimeInput": {"text": data}})


def python_text_input(data: str) -> str:
    return json.dumps({"realtime_input": {"text": data}})


def pieces(length: int, count: int) -> Iterator[str]:
    yield from ("A" * (length // count) for _ in range(count))


def count_input(reader: FrameReader, messages: Iterator[str | bytes]) -> int:
    return sum(reader.read_client_frame(message, Rule()).characters for message in messages)


def count_output(reader: FrameReader, messages: Iterator[str]) -> int:
    notices = [notice for message in messages for notice in reader.read_provider_frame(message)]
    return sum(notice.characters for notice in notices if isinstance(notice, OutputPiece))


def live() -> LiveFrames:
    return LiveFrames(str)


AUDIO_FRAMES = [
    (OpenAiFrames, openai_input, count_input, 1600), (OpenAiFrames, raw_input, count_input, 1600),
    (live, live_input, count_input, 1600), (GeminiFrames, gemini_input, count_input, 400),
    (GeminiFrames, python_input, count_input, 400), (OpenAiFrames, openai_output, count_output, 800),
    (OpenAiFrames, translated_output, count_output, 800), (GeminiFrames, gemini_output, count_output, 640),
]  # fmt: skip


@each_row(("reader", "frame", "count", "size"), AUDIO_FRAMES)
def test_audio_in_small_pieces_counts_as_much(reader, frame, count, size):
    whole = count(reader(), map(frame, pieces(AUDIO, 1)))
    assert whole == pytest.approx(AUDIO / size, rel=0.01)
    tolerance = 0.2 if count is count_input else 0.01  # a client's frames count, too
    assert count(reader(), map(frame, pieces(AUDIO, PIECES))) == pytest.approx(whole, rel=tolerance)


@pytest.mark.parametrize("frame", [text_input, python_text_input])
def test_text_among_geminis_audio_counts_as_text(frame):
    assert count_input(GeminiFrames(), map(frame, pieces(4000, 10))) == pytest.approx(4000, rel=0.01)


def test_geminis_text_counts_as_text():
    assert count_output(GeminiFrames(), map(gemini_text, pieces(4000, 100))) == 4000
    call = json.dumps({"toolCall": {"functionCalls": [{"name": "f", "args": {"text": "A" * 400}}]}})
    assert count_output(GeminiFrames(), iter([call])) > 400


@pytest.mark.parametrize("others", [{}, {"usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}])
def test_a_message_without_a_tool_call_has_no_event(others):
    """Servers that write all members write ``null``."""
    message = json.dumps({"setupComplete": {}, "serverContent": None, "toolCall": None, **others})
    assert GeminiFrames().read_provider_frame(message) == ()


# Whole sessions


ENTRIES = (
    {"model": "openai/gpt-realtime-translate", "name": "interpreter", "price": PRICE},
    {**LIVE, "price": PRICE},
)


async def interpret(peer: Peer) -> None:
    """Translate each piece of audio into one of the same length."""
    await peer.accept()
    while (message := await peer.receive()) is not None:
        event = json.loads(message)
        if event["type"] == "session.close":
            await peer.send({"type": "session.closed"})
            return
        await peer.send(json.loads(translated_output(event["audio"])))


async def write(peer: Peer) -> None:
    """Write 40 pieces of text, and never end the turn."""
    await peer.accept()
    await peer.event()
    await peer.event()
    for piece in pieces(4000, 40):
        await peer.send(json.loads(gemini_text(piece)))
    await peer.read_rest()


@pytest.mark.parametrize("is_closed", [True, False])
async def test_a_translation_of_small_pieces_is_charged_whole(is_closed, exchanges):
    """The provider reports no usage of it, so the gateway counts the audio of both sides."""
    async with serve_sessions(interpret, *ENTRIES) as (running, _):
        path = "/v1/realtime/translations?model=interpreter"
        async with calling(running.url, path, BEARER) as caller:
            for piece in pieces(AUDIO // SHORTER, PIECES // SHORTER):
                await caller.send({"type": "session.input_audio_buffer.append", "audio": piece})
                await caller.receive()
            if is_closed:
                await caller.send({"type": "session.close"})
                await caller.event()
        (line,) = [line for line in await exchanges.wait_for(2) if "cost_usd" in line]
    assert line["input_tokens"] == pytest.approx(10 * SECONDS / SHORTER, rel=0.2)
    assert line["output_tokens"] == pytest.approx(20 * SECONDS / SHORTER, rel=0.2)


async def test_a_gemini_client_that_leaves_within_a_turn_is_charged_for_its_text(exchanges):
    async with serve_sessions(write, *ENTRIES) as (running, _):
        async with calling(running.url, f"{GEMINI}?key={KEY}") as caller:
            await caller.send({"setup": {"model": "models/live"}})
            await caller.send(text_input("A" * 4000))
            for _ in range(40):
                await caller.receive()
        (line,) = [line for line in await exchanges.wait_for(2) if "cost_usd" in line]
    assert (line["input_tokens"], line["output_tokens"]) == (pytest.approx(1000, rel=0.1), 1000)
