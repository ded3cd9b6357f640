"""Requests of Interactions clients."""

import json
from typing import Any

from providers.apis import CODECS
from providers.interactions import INTERACTIONS
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    FilePart,
    ImagePart,
    Request,
    ToolResultPart,
)
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.interactions_answers import GOOGLE, call_step, result_step

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"type": "text", "mime_type": "application/json", "schema": SCHEMA}


def read(input: Any = "hi", **members: Any) -> Request:
    return INTERACTIONS.read_request({"model": "m", "input": input, **members})


def test_a_result_within_the_users_input_is_a_result():
    """The SDK has a step; contents with that type are read as well."""
    _, results = read([call_step(), {"type": "user_input", "content": [result_step(is_error=True)]}]).messages
    (result,) = results.parts
    assert isinstance(result, ToolResultPart)
    assert (result.call_id, result.is_error) == ("c1", True)


def test_media_are_read():
    contents = [
        {"type": "image", "data": "_-8", "mime_type": "image/png"},
        {"type": "document", "uri": "https://generativelanguage.googleapis.com/v1beta/files/x"},
        {"type": "video", "data": "AAAA", "mime_type": "video/mp4"},
    ]
    (message,) = read([{"type": "user_input", "content": contents}]).messages
    image, file, film = message.parts
    assert isinstance(image, ImagePart)
    assert image.source.value == "/+8="
    assert isinstance(file, FilePart)
    assert file.source.kind == "file_id"
    assert isinstance(film, FilePart)
    assert film.source.media_type == "video/mp4"


def test_settings_are_read_and_unknown_ones_are_listed():
    config = {"max_output_tokens": 9, "temperature": 0.5, "stop_sequences": ["x"], "seed": 3, "speech_config": {}}
    found = read(
        generation_config=config, store=False, service_tier="flex", previous_interaction_id="tg1.x",
        safety_settings=[{"category": "c"}], labels={"a": "b"}, background=False,
    )  # fmt: skip
    assert {name: one.value for name, one in found.parameters.items()} == {
        "max_tokens": 9, "temperature": 0.5, "stop": ["x"], "seed": 3, "store": False, "service_tier": "flex",
        "previous_response_id": "tg1.x", "background": False,
    }  # fmt: skip
    assert set(found.dropped) == {"generation_config.speech_config", "safety_settings", "labels"}


def test_formats():
    for members, schema in [
        ({"response_format": FORMAT}, SCHEMA),
        ({"response_format": [FORMAT]}, SCHEMA),
        ({"response_format": SCHEMA, "response_mime_type": "application/json"}, SCHEMA),
        ({"response_format": {"type": "text", "mime_type": "application/json"}}, None),
        ({"response_mime_type": "application/json"}, None),
    ]:
        with case((members, schema)):
            found = read(**members).format
            assert found is not None
            assert (found.kind, found.schema) == ("json_schema" if schema else "json_object", schema)


def test_a_format_reaches_every_provider_or_is_listed():
    """BerriAI/litellm#36928"""
    for api in [api for api in CODECS if api != "interactions"]:
        with case(api):
            request = read(response_format=FORMAT)
            found = CODECS[api].write_request(request, Recipient("m", GOOGLE, Quirks()))
            assert json.dumps(SCHEMA["properties"], separators=(",", ":")) in found.body.decode().replace("\\", "")
            # Converse of an unknown model gets it as an instruction, which is listed.
            assert ("response_format" in found.dropped) == (api == "converse")


@each_row("body", [
    {"response_format": {"type": "text", "mime_type": "text/x.enum"}},
    {"response_mime_type": "text/x.enum"},
    {"response_mime_type": "text/x.enum", "response_format": {"type": "text"}},
])  # fmt: skip
def test_an_unknown_format_is_listed(body):
    """N21."""
    (lost,) = read(**body).dropped
    assert lost in ("response_format.mime_type", "response_mime_type")
    assert read(response_mime_type="text/plain").dropped == ()


def test_settings_of_media_are_listed_for_other_apis():
    for member in ["image_config", "speech_config", "video_config", "transcription_config"]:
        for api in ["chat", "messages", "responses", "gemini", "converse"]:
            with case((member, api)):
                request = read(generation_config={member: {"a": 1}})
                outgoing = CODECS[api].write_request(request, Recipient("m", GOOGLE, Quirks()))
                assert f"generation_config.{member}" in outgoing.dropped
                assert member.encode() not in outgoing.body
