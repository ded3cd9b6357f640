"""Recorded requests of other APIs' clients, written for Gemini as in its reference, with all content."""

import json
from itertools import pairwise

import pytest

from providers.apis import CODECS
from providers.neutral.request import TextPart, ToolCallPart, ToolResultPart
from providers.neutral.tool_names import shorten_names
from streams.errors import GatewayError
from tests.support.gemini_answers import FLASH, OLD_FLASH, encode_request
from tests.support.recordings import ABSENT, recordings

ASKED = [one for one in recordings() if one.request is not None and one.api in ("chat", "messages", "responses")]
OF_PARTS = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "thought", "thoughtSignature"}


def check(body, request):
    """Check the API's rules for the contents of a request."""
    roles = [content["role"] for content in body["contents"]]
    assert roles
    assert set(roles) <= {"user", "model"}
    assert all(a != b for a, b in pairwise(roles)), roles
    for content in body["contents"]:
        assert content["parts"]
        for part in content["parts"]:
            assert part.keys() <= OF_PARTS, part
            assert part.get("text") != "" or "thoughtSignature" in part
            if "functionResponse" in part:
                assert isinstance(part["functionResponse"]["response"], dict)
                assert content["role"] == "user"
            if "functionCall" in part:
                assert isinstance(part["functionCall"]["args"], dict)
    for content, behind in pairwise(body["contents"]):
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
        answered = [part["functionResponse"]["name"] for part in behind["parts"] if "functionResponse" in part]
        if called and answered:
            assert answered == called[: len(answered)]
            assert all("functionResponse" in part for part in behind["parts"][: len(answered)])
    assert all(part.keys() == {"text"} for part in body.get("systemInstruction", {}).get("parts", ()))
    parts = [part for message in request.messages for part in message.parts]
    sent = json.dumps(body, ensure_ascii=False)
    for part in parts:
        if isinstance(part, TextPart) and part.text:
            assert json.dumps(part.text, ensure_ascii=False)[1:-1] in sent
    for kind, member in ((ToolCallPart, '"functionCall"'), (ToolResultPart, '"functionResponse"')):
        assert sent.count(member) == sum(isinstance(part, kind) for part in parts)


@pytest.mark.skipif(len(ASKED) < 100, reason=ABSENT)
def test_recorded_requests_of_other_apis_can_be_written_for_gemini():
    count, refused = 0, list[str | None]()
    for recording in ASKED:
        try:
            body = json.loads(recording.request)
            request = CODECS[recording.api].read_request(body)
        except GatewayError:
            continue
        for model in (FLASH, OLD_FLASH):
            changed, _ = shorten_names(request, CODECS["gemini"].wire.tool_naming)
            try:
                sent, _ = encode_request(changed, model)
            except GatewayError as error:  # files by id, and links that the gateway does not fetch
                refused.append(error.info.param)
                continue
            try:
                check(sent, changed)
            except AssertionError as error:
                raise AssertionError(f"{recording.name} for {model}") from error
            count += 1
    assert count > 300
    assert len(refused) < count / 10
    assert all(refused), "each says where"
