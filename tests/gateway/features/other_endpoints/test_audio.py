"""Speech and transcripts over real sockets, requested with OpenAI's SDK and with plain requests."""

import json
from typing import Any

import httpx2
import openai
import pytest
import trio

from gateway.exchange import target_request
from gateway.features.other_endpoints import audio
from streams.events import Usage
from tests.support.audio_files import mp3, wav
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, events, json_answer
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.hostile_bodies import MB, HostileAnswer
from tests.support.in_process import InProcess
from tests.support.multipart import KIND, multipart, part
from tests.support.openai_client import openai_client
from tests.support.set_answer import SetAnswer, set_answer_provider
from tests.support.settled import usages
from tests.support.uploading import Upload

AUDIO = bytes(range(256)) * 40
ENTRY = {"name": "mine"}
SAY = {"model": "mine", "voice": "alloy", "input": "Hellö."}


def event(kind: str, **members: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps({"type": kind, **members}).encode()


# Speech


async def test_speech_arrives_while_it_is_generated():
    """The gateway sends a clip before it is complete (BerriAI/litellm#33974, gpustack/gpustack#4719): this provider
    generates the rest after the client has received the beginning."""
    answer = ScriptedAnswer((AUDIO[:3000], AUDIO[3000:]), headers=(("content-type", "audio/mpeg"),))
    async with (
        before(lambda asked: answer, "openai/tts-1", ENTRY) as (served, provider),
        openai_client(served.url) as client,
    ):
        provider.go = Steps()
        async with client.audio.speech.with_streaming_response.create(**SAY) as response:
            assert response.headers["content-type"] == "audio/mpeg"
            found = b""
            with trio.fail_after(5):
                async for piece in response.iter_bytes():
                    found += piece
                    if found == AUDIO[:3000]:
                        provider.go.step()
        assert found == AUDIO
        (asked,) = provider.asked
        assert asked.json == {**SAY, "model": "tts-1"}
        assert asked.headers["accept"] == "application/octet-stream"


async def test_speech_is_billed_by_its_text_unless_tokens_are_reported():
    told_usage = {"input_tokens": 12, "output_tokens": 34, "total_tokens": 46}
    sound = ScriptedAnswer((AUDIO,), headers=(("content-type", "audio/mpeg"),))
    stream = events(event("speech.audio.delta", audio="AAAA"), event("speech.audio.done", usage=told_usage))
    for answer, expected in ((sound, Usage(units=(("character", 6),))), (stream, Usage(input=12, output=34))):
        async with (
            before(lambda asked, answer=answer: answer, "openai/tts-1", ENTRY) as (served, _),
            openai_client(served.url) as ask,
        ):
            with usages(served) as found:
                await ask.audio.speech.create(**SAY)
            assert found == [expected]
            assert [one.units for one in found] == [expected.units]


async def test_without_a_content_type_of_the_provider_it_is_that_of_the_format():
    """BerriAI/litellm#4332, BerriAI/litellm#38798, langgenius/dify#39582."""
    for said, asked_for, expected in (
        ("audio/ogg", "mp3", "audio/ogg"),
        (None, None, "audio/mpeg"),
        (None, "pcm", "audio/pcm"),
        ("application/octet-stream", "wav", "audio/wav"),
        ("application/octet-stream", "unheard-of", "audio/mpeg"),
    ):
        answer = ScriptedAnswer((AUDIO,), headers=() if said is None else (("content-type", said),))
        async with before(lambda asked, answer=answer: answer, "openai/tts-1", ENTRY) as (served, _):
            body = SAY if asked_for is None else {**SAY, "response_format": asked_for}
            found = await served.post("/v1/audio/speech", json=body)
            assert (found.headers["content-type"], found.content) == (expected, AUDIO)


async def test_a_client_can_detect_a_cut_clip():
    """Audio data cannot contain an error, so the chunked body lacks its end. A stream of events has an error."""
    sound = ScriptedAnswer((AUDIO,), headers=(("content-type", "audio/mpeg"),), cut=True)
    async with before(lambda asked: sound, "openai/tts-1", ENTRY) as (served, _), openai_client(served.url) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.audio.speech.create(**SAY)
    for stream in (
        events(event("speech.audio.delta", audio="AAAA"), cut=True),
        events(event("speech.audio.delta", audio="AAAA")),
    ):
        async with before(lambda asked, stream=stream: stream, "openai/tts-1", ENTRY) as (served, _):
            found = await served.post("/v1/audio/speech", json={**SAY, "stream_format": "sse"})
            first, last = found.content.split(b"\n\n")[:2]
            assert b"speech.audio.delta" in first
            assert json.loads(last.removeprefix(b"data: "))["error"]["message"]


# Transcripts

WORDS = {"text": "Hi.", "language": "en", "duration": 2.5, "words": [{"word": "Hi", "start": 0.0, "end": 0.5}]}
SPEAKERS = {"text": "Hi.", "task": "transcribe", "segments": [{"id": "s", "speaker": "A", "text": "Hi.", "x-new": 1}]}


async def test_a_transcript_passes_in_every_requested_form():
    """pollinations/pollinations#11458, lemonade-sdk/lemonade#2088, TU-Wien-dataLAB/aqueduct#89."""
    for form, kind, body in (
        ("text", "text/plain; charset=utf-8", b"true\n"),
        ("text", "application/json", b"123"),
        ("srt", "text/plain", b"1\n00:00:00,000 --> 00:00:01,000\nHi.\n\n"),
        ("vtt", "text/vtt", b"WEBVTT\n\n"),
        ("json", "application/json", b'{"text": "Hi.",  "usage":{"type":"tokens","input_tokens":7,"output_tokens":2}}'),
        ("verbose_json", "application/json", json.dumps(WORDS, indent=1).encode()),
        ("diarized_json", "application/json", json.dumps(SPEAKERS).encode()),
    ):
        answer = ScriptedAnswer((body,), headers=(("content-type", kind),), length=True)
        async with before(lambda asked, answer=answer: answer, "openai/whisper-1", ENTRY) as (served, _):
            found = await upload(served, part("response_format", form.encode()))
            assert (found.content, found.headers["content-type"]) == (body, kind)


async def upload(served: InProcess, *fields: bytes, file: bytes = b"", path: str = "transcriptions") -> httpx2.Response:
    """Return the response to a form whose fields are in an unusual order, as curl may send them."""
    form = multipart([*fields, part("file", file or wav(2.5), "a.wav"), part("model", b"mine")])
    return await served.post(f"/v1/audio/{path}", content=form, headers={"content-type": KIND})


async def test_every_format_is_metered():
    """The seconds are from the answer, or else from the file (api7/aisix#868, BerriAI/litellm#36357)."""
    plain = ScriptedAnswer((b"Hi.",), headers=(("content-type", "text/plain"),))
    for answer, file, expected in (
        (json_answer({"text": "Hi.", "usage": {"type": "duration", "seconds": 3}}), wav(60), (("second", 3), False)),
        (json_answer(WORDS), wav(60), (("second", 3), False)),
        (
            json_answer({"text": "", "usage": {"prompt_audio_seconds": 9, "prompt_tokens": 4}}),
            wav(60),
            (("second", 9), False),
        ),
        (  # Mistral's tokens for the recording are no output (pydantic/genai-prices#591)
            json_answer({"text": "", "usage": {"prompt_audio_seconds": 9, "prompt_tokens": 3, "completion_tokens": 1,
                                               "total_tokens": 379, "prompt_tokens_details": {"audio_tokens": 375}}}),
            wav(60),
            (("second", 9), False),
        ),
        (json_answer({"text": "Hi."}), wav(60), (("second", 60), True)),
        (plain, wav(1.2), (("second", 2), True)),
        (plain, mp3(30), (("second", 30), True)),
        (plain, b"unknown" * 4000, (("second", 4), True)),
        (events(event("transcript.text.done", text="Hi.")), wav(60), (("second", 60), True)),
    ):  # fmt: skip
        async with before(lambda asked, answer=answer: answer, "openai/whisper-1", ENTRY) as (served, _):
            with usages(served) as found:
                form = part("response_format", b"text" if answer is plain else b"json")
                assert (await upload(served, form, file=file, path="translations")).status_code == 200
            assert [(one.units, one.estimated) for one in found] == [((expected[0],), expected[1])]


async def test_usage_of_sound_billed_by_tokens_is_estimated_in_tokens():
    answer = ScriptedAnswer((b"Hi.",), headers=(("content-type", "text/plain"),))
    async with before(lambda asked: answer, "openai/gpt-4o-transcribe", ENTRY) as (served, _):
        with usages(served) as found:
            await upload(served, part("response_format", b"text"), file=wav(60))
        (used,) = found
        assert (used.input, used.units, used.estimated) == (600, (("input_audio_token", 600),), True)


async def test_coheres_form_passes_as_openais_does():
    own = {"endpoints": {"transcriptions": {"path": "/v2/audio/transcriptions", "shape": "cohere"}}, **ENTRY}
    form = multipart([part("model", b"mine"), part("language", b"en"), part("file", wav(2), "a.wav")])
    async with before(lambda asked: json_answer({"text": "Hi."}), "openai/transcribe-1", own) as (served, provider):
        uploading = await Upload.begin(served, form, len(form), path="/v2/audio/transcriptions")
        answer = await uploading.answer()
        assert answer.endswith(b'{"text": "Hi."}')
        assert b"x-trigate-lane: byte" in answer
        assert provider.asked[0].path.endswith("/v2/audio/transcriptions")
        assert provider.asked[0].body == form.replace(b"mine", b"transcribe-1")


async def test_the_sdk_uploads_a_recording_and_reads_the_words_one_by_one():
    """The gateway sends each event before the next one arrives (api7/aisix#1000). Fields that the SDK sends several
    times stay repeated (BerriAI/litellm#35937)."""
    deltas = [event("transcript.text.delta", delta=f"{number} ") for number in range(20)]
    done = event("transcript.text.done", text="0 1", usage={"type": "tokens", "input_tokens": 9, "output_tokens": 20})
    answer = events(*deltas, done)
    async with before(lambda asked: answer, "openai/gpt-4o-transcribe", ENTRY) as (served, provider):
        async with openai_client(served.url) as client:
            with usages(served) as used:
                provider.go = Steps()
                stream = await client.audio.transcriptions.create(
                    model="mine", file=("größer.wav", wav(1)), stream=True, response_format="json",
                    include=["logprobs"], timestamp_granularities=["word", "segment"],
                    chunking_strategy={"type": "server_vad"},
                )  # fmt: skip
                found = []
                with trio.fail_after(10):
                    async for one in stream:
                        found.append(one.type)
                        provider.go.step()
            assert found == [*["transcript.text.delta"] * 20, "transcript.text.done"]
            assert used == [Usage(input=9, output=20)]
        body = provider.asked[0].body
        assert body.count(b'name="timestamp_granularities[]"') == 2
        assert b'name="include[]"' in body
        assert b'name="chunking_strategy[type]"' in body
        assert 'filename="größer.wav"'.encode() in body
        assert b'name="model"\r\n\r\ngpt-4o-transcribe\r\n' in body


class Steps:
    """A control for the pieces of an answer: the provider sends the next one when the client has read the last one."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](100)
        self.step()

    def step(self) -> None:
        self._send.send_nowait(None)

    async def wait(self) -> None:
        await self._receive.receive()


async def test_a_model_that_does_not_stream_returns_a_complete_answer():
    async with before(lambda asked: json_answer(WORDS), "openai/whisper-1", ENTRY) as (served, _):
        found = await upload(served, part("stream", b"true"))
        assert found.json() == WORDS


async def test_a_complete_answer_after_keep_alives_is_the_only_event_of_a_stream():
    """Whisper ignores requests for a stream, and responds late."""
    pinged = trio.Event()

    async def slow(asked: ReceivedRequest) -> ScriptedAnswer:
        await pinged.wait()
        return ScriptedAnswer((json.dumps(WORDS, indent=1).encode(),), length=True)

    async with before(slow, "openai/whisper-1", ENTRY, keep_alive="50ms") as (served, _):
        form = multipart([part("stream", b"true"), part("model", b"mine"), part("file", wav(1), "a.wav")])
        async with httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False) as client:
            asked = client.stream("POST", "/v1/audio/transcriptions", content=form, headers={"content-type": KIND})
            async with asked as response:
                found = b""
                async for piece in response.aiter_bytes():
                    found += piece
                    pinged.set()
        comment, *lines = [line for line in found.splitlines() if line]
        assert comment.startswith(b":")
        data = b"\n".join(line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: "))
        assert json.loads(data) == WORDS


async def test_a_transcript_that_breaks_off_ends_in_an_error():
    cut = events(event("transcript.text.delta", delta="Hi"), cut=True)
    failed = events(event("transcript.text.delta", delta="Hi"), event("error", error={"message": "no more sound"}))
    for answer, said in ((cut, ""), (failed, "no more sound")):
        async with before(lambda asked, answer=answer: answer, "openai/gpt-4o-transcribe", ENTRY) as (served, _):
            found = await upload(served, part("stream", b"true"))
            last = json.loads(found.content.strip().rpartition(b"data: ")[2])
            assert said in last["error"]["message"]
            assert b"text.done" not in found.content


@pytest.mark.parametrize(("words", "sizes"), [(1_000, 2), (200_000, 2)])
def test_the_usage_of_a_recording_is_not_estimated_for_each_piece(monkeypatch, words, sizes):
    """Each piece took 13 ms of the loop for a text of 20 MB."""
    estimated: list[str] = []

    def count_calls(module: Any, name: str) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (estimated.append(name), function(*args))[1])

    count_calls(target_request, "size_of")
    count_calls(audio, "spoken_usage")
    SetAnswer.answer = HostileAnswer(b"x" * 4 * MB, "audio/mpeg")
    with (
        set_answer_provider() as url,
        gateway_thread(config([provider("openai/chat", f"{url}/v1", name="chat")])) as gateway,
    ):
        said = {"model": "chat", "voice": "y", "input": "word " * words}
        assert gateway.request("POST", "/v1/audio/speech", said).status == 200
    assert estimated.count("size_of") <= sizes  # with its text, and after the text was released
    assert estimated.count("spoken_usage") == 1
