"""Validation of requests by the types of the official SDKs, which are made from the providers' specifications."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import pydantic
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming
from botocore.validate import ParamValidator
from google.genai import types
from google.genai.interactions import CreateModelInteraction
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from tests.support.converse_fields import converse_shape


class _GenerateContent(pydantic.BaseModel, extra="forbid"):
    """The body of Gemini's ``generateContent``: the package has types of its members, and none of the body."""

    contents: list[types.Content]
    systemInstruction: types.Content | None = None
    tools: list[types.Tool] | None = None
    toolConfig: types.ToolConfig | None = None
    safetySettings: list[types.SafetySetting] | None = None
    generationConfig: types.GenerationConfig | None = None
    modelArmorConfig: types.ModelArmorConfig | None = None
    cachedContent: str | None = None
    labels: dict[str, str] | None = None
    serviceTier: types.ServiceTier | None = None
    store: bool | None = None


_TYPES: Final[Mapping[str, Any]] = {
    "chat": CompletionCreateParamsNonStreaming,
    "messages": MessageCreateParamsNonStreaming,
    "responses": ResponseCreateParamsNonStreaming,
    "gemini": _GenerateContent,
    "interactions": CreateModelInteraction,
}


@cache
def _validator(api: str) -> Callable[[Any], object]:
    return pydantic.TypeAdapter(_TYPES[api]).validate_python


def mistake_in(api: str, body: Mapping[str, Any]) -> str | None:
    """Return a mistake in the ``body`` of a request, ``None`` if the SDK would send it."""
    body = {name: value for name, value in body.items() if name != "stream"}  # the SDKs set it
    if api == "converse":
        report = ParamValidator().validate({"modelId": "m", **body}, converse_shape())
        return report.generate_report() if report.has_errors() else None
    try:
        _validator(api)(_with_ids(body) if api == "responses" else body)
    except pydantic.ValidationError as error:
        found = max(error.errors(), key=lambda one: len(one["loc"]))
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}: {found['input']!r:.200}"
    return None


def _with_ids(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request with ids of the model's messages, which the types require and the API does not."""
    if not isinstance(items := body.get("input"), list):
        return body
    more = {"id": "msg_1", "status": "completed"}
    return {**body, "input": [{**more, **one} if one.get("role") == "assistant" else one for one in items]}
