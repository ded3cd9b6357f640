"""The text that RFC 2046 permits before the first boundary of a form remains in every edited form: Swift often writes
a CRLF there."""

import json
from typing import Any

from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, json_answer
from tests.support.features import needs_feature
from tests.support.kept_clients import KEYS, run, serving
from tests.support.multipart import KIND, multipart, part
from tests.support.relayed_requests import ASKED, MULTIPART

PREAMBLES = (b"\r\n", b"A form follows.\r\n\r\n")
MODEL = part("model", b"mine")
WAV = part("file", b"RIFF" * 2_000, "a.wav")
PICTURE = part("image", b"\x89PNG", "a.png")
HEAD = {"content-type": KIND}
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5", "messages": []}}
LINES = part("file", json.dumps(LINE).encode(), "b.jsonl")


async def send_all(served: Any, path: str, form: bytes, provider: Any, **headers: str) -> bytes:
    """Return the form that the provider gets, the same after each preamble and without one."""
    found = []
    for preamble in (b"", *PREAMBLES):
        provider.asked.clear()
        reply = await served.post(path, content=preamble + form, headers={**HEAD, **headers})
        assert reply.status_code < 300, (preamble, reply.text)
        (asked,) = provider.asked
        assert asked.body.startswith(preamble + b"--")
        assert asked.headers.get("content-length") in (None, str(len(asked.body)))
        found.append(asked.body[len(preamble) :])
    first, *others = found
    assert others == [first] * len(PREAMBLES)
    return first


def answering(asked: ReceivedRequest) -> ScriptedAnswer:
    return json_answer({"text": "Hello.", "data": [{"b64_json": "AAAA"}]})


@each_row("parts", [[MODEL, WAV], [WAV, MODEL], [WAV, part("n", b"2"), MODEL]], every=3)
async def test_forms_with_a_model(parts):
    entry = {"name": "mine", "endpoints": {"image_variations": True}}
    async with before(answering, "openai/whisper-1", entry) as (served, provider):
        for endpoint, path in ASKED:
            if endpoint in MULTIPART:
                with case(path):
                    first = await send_all(served, path, multipart(parts), provider)
                    assert first == multipart(parts).replace(b"\r\nmine\r\n", b"\r\nwhisper-1\r\n")


@needs_feature("other_endpoints")
async def test_a_form_to_which_a_model_is_added():
    async with before(answering, "openai/gpt-image-1", {"type": "image"}) as (served, provider):
        first = await send_all(served, "/v1/images/edits", multipart([PICTURE]), provider)
        assert first == multipart([part("model", b"gpt-image-1"), PICTURE])


@needs_feature("files")
@each_row(
    "parts",
    [
        [part("purpose", b"user_data"), WAV],
        [WAV, part("purpose", b"user_data")],
        [part("purpose", b"batch"), LINES],
        [LINES, part("purpose", b"batch")],
    ],
    every=2,
)
async def test_files(parts):
    async with serving("openai") as served:
        provider = served.providers["openai"]
        head = {"authorization": f"Bearer {KEYS['a']}"}
        first = await send_all(served.gateway, "/v1/files", multipart(parts), provider, **head)
        assert first == multipart(parts)


@needs_feature("files")
async def test_a_file_of_a_container():
    async with serving("openai") as served:
        provider, client = served.providers["openai"], served.openai()
        container = await run(lambda: client.containers.create(name="c"))
        path = f"/v1/containers/{container.id}/files"
        provider.answers[f"/v1/containers/{next(iter(provider.kept))}/files"] = json_answer({"id": "cfile_1"})
        head = {"authorization": f"Bearer {KEYS['a']}"}
        await send_all(served.gateway, path, multipart([WAV]), provider, **head)


@needs_feature("pass_through")
async def test_forms_that_pass_through_for_a_key_with_models():
    keys = [{"name": "ann", "key": KEYS["a"], "models": ["mine"], "passthrough": ["mine"]}]
    async with before(answering, entry={"name": "mine", "passthrough": True}, client_keys=keys) as (served, provider):
        for parts in ([part("model", b"m-1"), WAV], [WAV]):
            head = {"authorization": f"Bearer {KEYS['a']}"}
            first = await send_all(served, "/mine/v1/things", multipart(parts), provider, **head)
            assert first == multipart(parts)


@needs_feature("realtime")
async def test_the_beginning_of_a_call():
    offer = part("sdp", b"v=0\r\n")
    keys = [{"name": "ann", "key": KEYS["a"], "realtime": {"calls": True}}]
    begun = json_answer({}, 201, ("location", "/v1/realtime/calls/rtc_1"))
    entry = {"name": "voice"}
    async with before(lambda asked: begun, "openai/gpt-realtime", entry, client_keys=keys) as (served, provider):
        head = {"authorization": f"Bearer {KEYS['a']}"}
        for parts, query in (
            ([offer, part("session", b'{"type":"realtime","model":"voice"}')], ""),
            ([offer], "?model=voice"),
        ):
            path = f"/v1/realtime/calls{query}"
            await send_all(served, path, multipart(parts), provider, **head)
