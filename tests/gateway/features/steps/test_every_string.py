"""Every string of the official SDKs' request types is in exactly one passage, or on the list of exemptions."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import anthropic.types.beta.message_count_tokens_params
import anthropic.types.beta.message_create_params
import anthropic.types.beta.messages.batch_create_params
import anthropic.types.message_create_params
import botocore.session
import openai.types.audio.speech_create_params
import openai.types.batch_create_params
import openai.types.chat.completion_create_params
import openai.types.completion_create_params
import openai.types.conversations.conversation_create_params
import openai.types.embedding_create_params
import openai.types.image_generate_params
import openai.types.moderation_create_params
import openai.types.responses.input_token_count_params
import openai.types.responses.response_compact_params
import openai.types.responses.response_create_params
import pytest
from google.genai.interactions import CreateModelInteractionParam
from typing_extensions import TypedDict

from gateway.features.steps.commands.listing import exempt_paths, exemptions
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.tables import APIS, table_for
from gateway.features.steps.tables.gemini import camel_case
from tests.support.each_row import each_row
from tests.support.gemini_fields import GenerateContentRequest
from tests.support.recorded_requests import requests
from tests.support.recordings import ABSENT, CORPUS
from tests.support.sdk_strings import MARKER, plant, plant_in_shape, plant_in_value

TYPES: Final[dict[str, tuple[str, Any]]] = {
    "chat": ("chat", openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming),
    "messages": ("messages", anthropic.types.message_create_params.MessageCreateParamsNonStreaming),
    "messages beta": ("messages", anthropic.types.beta.message_create_params.MessageCreateParamsNonStreaming),
    "count_tokens": ("messages", anthropic.types.beta.message_count_tokens_params.MessageCountTokensParams),
    "responses": ("responses", openai.types.responses.response_create_params.ResponseCreateParamsNonStreaming),
    "compact": ("responses", openai.types.responses.response_compact_params.ResponseCompactParams),
    "input_tokens": ("responses", openai.types.responses.input_token_count_params.InputTokenCountParams),
    "gemini": ("gemini", GenerateContentRequest),
    "gemini count": (
        "gemini", TypedDict("CountRequest", {"generateContentRequest": GenerateContentRequest}, total=False)
    ),
    "interactions": ("interactions", CreateModelInteractionParam),
    "embeddings": ("embeddings", openai.types.embedding_create_params.EmbeddingCreateParams),
    "completions": ("completions", openai.types.completion_create_params.CompletionCreateParamsNonStreaming),
    "moderations": ("moderations", openai.types.moderation_create_params.ModerationCreateParams),
    "images": ("image_generations", openai.types.image_generate_params.ImageGenerateParamsNonStreaming),
    "speech": ("speech", openai.types.audio.speech_create_params.SpeechCreateParams),
    "batches": ("batches", openai.types.batch_create_params.BatchCreateParams),
    "conversations": ("conversations", openai.types.conversations.conversation_create_params.ConversationCreateParams),
    "message_batches": ("message_batches", anthropic.types.beta.messages.batch_create_params.BatchCreateParams),
}  # fmt: skip

FULL: Final = ("chat", "gemini", "compact", "completions", "speech", "batches")
"""The types whose objects also have all their members around a string, in the gate."""
CONTAINED: Final = ("count_tokens", "gemini count", "message_batches")
"""The types that have the strings of another one, which only the soak reads."""

HEADERS: Final = frozenset(("betas", "workspace_id", "user_profile_id"))
"""Parameters that the SDK sends as headers."""


def converse_strings() -> Iterator[tuple[str, Any]]:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return plant_in_shape(model.operation_model("Converse").input_shape)


def is_seen_once(texts: RequestTexts) -> bool:
    """Return whether one passage has the marker in its text, or only passages of a tool have it as the tool's name."""
    count = sum(one.text.count(MARKER) for one in texts.passages)
    return count == 1 or (count == 0 and any(one.tool == MARKER for one in texts.passages))


def _exempt_paths(api: str) -> frozenset[str]:
    """Return the exempt paths of ``api``, which all endpoints without their own table share."""
    shape = id(table_for(api).shape)
    if shape not in _KNOWN:
        _KNOWN[shape] = frozenset(_without_lists(path) for path in exempt_paths(api))
    return _KNOWN[shape]


_KNOWN: Final[dict[int, frozenset[str]]] = {}


def _without_lists(path: str) -> str:
    """Return ``path`` without the marks of lists: one object may be in place of a list."""
    return path.replace("[]", "")


def find_unseen(api: str, strings: Iterator[tuple[str, Any]]) -> tuple[list[str], int]:
    """Return the strings that no passage has, or several, and that are not exempt; and the number of all."""
    exempt, wrong, count = _exempt_paths(api), [], 0
    for path, body in strings:
        name = path.removeprefix(".")
        if re.split(r"[.\[{]", name)[0] in HEADERS:
            continue
        count += 1
        texts = RequestTexts.of(api, json.dumps(body).encode())
        is_absent = not any(MARKER in one.text for one in texts.passages)
        if not is_seen_once(texts) and not (is_absent and _without_lists(name) in exempt):
            wrong.append(f"{name} in {json.dumps(body)}")
    return wrong, count


@pytest.mark.parametrize(
    ("name", "full"),
    [
        pytest.param(name, full, marks=() if full is (name in FULL) and name not in CONTAINED else pytest.mark.soak)
        for name in TYPES
        for full in (False, True)
    ],
)
def test_every_string_of_an_sdk_is_in_one_passage_or_exempt(name: str, full: bool) -> None:
    """``full``: the objects around a string have all their members."""
    api, kind = TYPES[name]
    wrong, count = find_unseen(api, plant(kind, full=full))
    assert wrong == []
    assert count > 2


def test_every_string_of_botocores_model_is_in_one_passage_or_exempt() -> None:
    wrong, count = find_unseen("converse", converse_strings())
    assert wrong == []
    assert count > 50


NUMBER: Final = "4111111111111111"


@each_row(("api", "strings"), [("converse", converse_strings), ("chat", lambda: plant(TYPES["chat"][1]))])
def test_a_number_in_place_of_a_text_is_seen_as_well(api: str, strings: Any) -> None:
    wrong, count = [], 0
    for path, body in strings():
        written = json.dumps(body)
        if f"{json.dumps(MARKER)}:" in written:  # names are no numbers
            continue
        if any(one.text == MARKER for one in RequestTexts.of(api, written.encode()).passages):
            count += 1
            number = RequestTexts.of(api, written.replace(json.dumps(MARKER), NUMBER).encode())
            if sum(one.text.count(NUMBER) for one in number.passages) != 1:
                wrong.append(path)
    assert wrong == []
    assert count > 20


ENDPOINT_REQUESTS: Final[dict[str, list[dict[str, Any]]]] = {
    "embeddings": [
        {"input": ["a", "b"], "user": "a"},
        {"input": [{"text": "a"}, {"image": "https://example.com/a.png"}]},
        {"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]},
        {"inputs": [{"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "a"}}]}]},
        {"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY", "title": "a"},
        {"requests": [{"model": "m", "content": {"parts": [{"text": "a"}]}, "title": "a"}]},
        {"messages": [{"role": "user", "content": "a"}]},
    ],
    "rerank": [
        {"query": "a", "documents": ["a", {"text": "a", "title": "a", "extra": "a"}], "rank_fields": ["title"]},
        {"query": "a", "texts": ["a"], "truncation_direction": "Right"},
        {"queries": ["a"], "documents": ["a"], "instruction": "a"},
    ],
    "score": [{"text_1": "a", "text_2": ["a"]}, {"queries": "a", "documents": ["a"]}],
    "classify": [{"input": ["a"]}, {"messages": [{"role": "user", "content": "a"}]}],
    "predict": [{"inputs": [["a", "b"]]}, {"instances": [{"prompt": "a"}], "parameters": {"k": "a"}}],
    "similarity": [{"inputs": {"source_sentence": "a", "sentences": ["a"]}}],
    "fim": [{"prompt": "a", "suffix": "a", "stop": ["a"]}],
    "chat_moderations": [
        {"input": [{"role": "user", "content": "a"}]}, {"input": [[{"role": "user", "content": "a"}]]},
    ],
    "moderations": [{"input": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "a"}}]}],
    "ocr": [
        {"document": {"type": "document_url", "document_url": "a", "document_name": "a"}},
        {"document": {"type": "image_url", "image_url": {"url": "a"}}, "document_annotation_prompt": "a"},
    ],
    "image_generations": [{"prompt": "a", "user": "a", "negative_prompt": "a", "image": "https://example.com/a.png"}],
    "speech": [{"input": "a", "instructions": "a", "voice": "alloy"}, {"text": "a"}],
    "batches": [{"metadata": {"k": "a"}, "requests": [{"custom_id": "1", "body": {"prompt": "a"}}]}],
}  # fmt: skip


@each_row("endpoint", ENDPOINT_REQUESTS)
def test_every_string_of_an_endpoint_is_in_one_passage_or_exempt(endpoint: str) -> None:
    for body in ENDPOINT_REQUESTS[endpoint]:
        assert find_unseen(endpoint, plant_in_value(body))[0] == []


@each_row("tokens", [[1, 2], [[1, 2], [3]], ["a", [1, 2]]])
def test_token_ids_are_unreadable(tokens: list[Any]) -> None:
    texts = RequestTexts.of("embeddings", json.dumps({"input": tokens}).encode())

    assert list(texts.unreadable) == (["input[1]"] if tokens[0] == "a" else ["input"])


def recorded_bodies(api: str) -> list[Any]:
    folder = {"gemini": "gemini", "converse": "bedrock_converse"}.get(api)
    if folder is None:
        return [one.body for one in requests() if one.api == api]
    return [json.loads(file.read_bytes()) for file in sorted((CORPUS / folder).glob("*.request.json"))]


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("api", APIS)
def test_every_string_of_a_recorded_request_is_in_one_passage_or_exempt(api: str, part: int) -> None:
    bodies = recorded_bodies(api)[part::3]
    if not bodies:
        pytest.skip(ABSENT)
    wrong = []
    for body in bodies:
        by_path = {camel_case(path) if api == "gemini" else path: changed for path, changed in plant_in_value(body)}
        wrong += find_unseen(api, iter(by_path.items()))[0]

    assert wrong == []


def test_the_exemptions_of_every_api_are_listed_once() -> None:
    """Tables within tables are references: the list must stay readable."""
    rows = [*exemptions()]

    assert {api for api, _ in rows} >= {*APIS, "endpoints"}
    assert ("message_batches", "requests[].params (as messages)") in rows
    assert ("endpoints", "inputs (as input)") in rows
    assert len(rows) == len(set(rows)) < 3500
