"""Steps on multipart forms: the prompts of pictures' edits, and transcripts of recordings."""

from typing import Any, Final

import pytest

from tests.support import word_steps
from tests.support.endpoint_provider import ScriptedAnswer
from tests.support.features import needs_feature
from tests.support.multipart import KIND, multipart, part
from tests.support.settled_lines import SettledLines
from tests.support.word_gateway import gateway_with_steps, step

pytestmark = needs_feature("other_endpoints")

PROMPT: Final = b"about falcon-12 now"
ANSWER: Final = "it is falcon-77 today"
IMAGES: Final = {"created": 1, "data": [{"b64_json": "AAAA", "revised_prompt": ANSWER}]}
LINES: Final = [{"id": 0, "text": "it is falcon"}, {"id": 1, "text": "-77 today"}]
TRANSCRIPT: Final = {
    "text": ANSWER,
    "language": "en",
    "segments": LINES,
    "words": [{"word": "falcon", "start": 0}],
}


def edit(prompt: bytes = PROMPT, *, model_last: bool = False, **files: bytes) -> bytes:
    model = part("model", b"m-1")
    image = part("image", b"\x89PNG falcon-1\r\n--x", "a.png", "Content-Type: image/png")
    parts = [part("prompt", prompt), image, *(part(name, data, "b.txt") for name, data in files.items())]
    return multipart([*parts, model] if model_last else [model, *parts])


async def send(served: Any, path: str, form: bytes) -> Any:
    return await served.post(path, content=form, headers={"content-type": KIND})


@pytest.mark.parametrize("model_last", [False, True])
async def test_a_mask_changes_only_its_field(model_last):
    async with gateway_with_steps(IMAGES, step(action="mask")) as (served, provider):
        found = await send(served, "/v1/images/edits", b"\r\n" + edit(model_last=model_last))
        assert found.status_code == 200, found.text
        (asked,) = provider.asked
        (check,) = [one for one in word_steps.seen if one.at == "request"]
        masked = asked.body.partition(b"[WORD_")[2].partition(b"]")[0]
        assert asked.body == b"\r\n" + edit(b"about [WORD_" + masked + b"] now", model_last=model_last)
        assert int(asked.headers["content-length"]) == len(asked.body)
        assert [(one.part, one.path) for one in check.passages] == [("input", "prompt")]
        assert b"falcon" not in found.content
        assert found.headers["x-trigate-steps"] == "words=masked"


async def test_a_refused_form_is_a_400_and_nothing_is_sent():
    async with gateway_with_steps(IMAGES, step(at=["request"])) as (served, provider):
        lines = SettledLines(served)
        found = await send(served, "/v1/images/edits", edit())
        assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter")
        assert not provider.asked
        assert (await lines.next())[0]["refused_by"] == "words"


async def test_a_name_of_a_field_or_a_file_is_refused_and_not_masked():
    fields = (part("falcon-12", b"x"), part("image", b"\x89PNG", "falcon-12.png", "Content-Type: image/png"))
    for field in fields:
        form = multipart([part("model", b"m-1"), part("prompt", b"a cat"), field])
        async with gateway_with_steps(IMAGES, step(action="mask", parts=["media", "other"])) as (served, provider):
            found = await send(served, "/v1/images/edits", form)
            assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter")
            assert not provider.asked


async def test_a_form_without_findings_passes_unchanged():
    for steps in ([step(at=["request"])], [step(action="report")], [step(**{"for": {"endpoints": ["chat"]}})]):
        async with gateway_with_steps(IMAGES, *steps) as (served, provider):
            found = await send(served, "/v1/images/edits", edit(b"a cat"))
            assert found.status_code == 200
            assert provider.asked[0].body == edit(b"a cat")


async def test_an_unknown_file_or_preamble_is_content_that_no_step_can_read():
    async with gateway_with_steps(IMAGES, step()) as (served, provider):
        for form in (edit(b"a cat", notes=b"falcon-12"), b"falcon-12\r\n" + edit(b"a cat")):
            found = await send(served, "/v1/images/edits", form)
            assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_content")
        assert not provider.asked


async def test_a_client_without_allowance_calls_no_step():
    keys = [{"name": "ann", "key": "key-of-ann-0123456789", "ratelimits": {"requests": "1/m"}}]
    headers = {"authorization": "Bearer key-of-ann-0123456789", "content-type": KIND}
    async with gateway_with_steps(IMAGES, step(), client_keys=keys) as (served, _):
        for wanted in (400, 429):
            word_steps.seen.clear()
            found = await served.post("/v1/images/edits", content=edit(), headers=headers)
            assert found.status_code == wanted, found.text
        assert not word_steps.seen


def recording(**fields: str) -> bytes:
    file = part("file", b"RIFF....", "a.wav", "Content-Type: audio/wav")
    return multipart([part("model", b"m-1"), *(part(name, value.encode()) for name, value in fields.items()), file])


TRANSCRIPTS: Final = ("/v1/audio/transcriptions", "/v1/audio/translations")


@pytest.mark.parametrize("path", TRANSCRIPTS)
@pytest.mark.parametrize(
    ("passes", "fields", "refusal"),
    [
        ({}, {}, (403, "unchecked_endpoint")),
        ({"unchecked": "pass"}, {"prompt": "about falcon-1"}, (400, "content_filter")),
    ],
)
async def test_a_recording_is_closed_to_steps_for_requests_or_its_prompt_is_checked(path, passes, fields, refusal):
    async with gateway_with_steps(TRANSCRIPT, step(at=["request"], **passes)) as (served, provider):
        found = await send(served, path, recording(**fields))
        assert (found.status_code, found.json()["error"]["code"]) == refusal
        assert not provider.asked


@pytest.mark.parametrize("path", TRANSCRIPTS)
async def test_a_transcript_is_masked_in_every_form(path):
    text = ScriptedAnswer((ANSWER.encode(),), headers=(("content-type", "text/plain"),), length=True)
    captions = b"1\n00:00:00,000 --> 00:00:02,000\nit is falcon-77\n"
    lines = ScriptedAnswer((captions,), headers=(("content-type", "application/x-subrip"),))
    for form, answer in (("json", TRANSCRIPT), ("text", text), ("srt", lines)):
        async with gateway_with_steps(answer, step(action="mask", at=["response"])) as (served, _):
            found = await send(served, path, recording(response_format=form))
            assert found.status_code == 200
            assert b"falcon" not in found.content, found.content
            assert b"[WORD_" in found.content
