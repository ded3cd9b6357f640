"""The stand-in's stored objects have the types of the official SDKs, which the SDKs check themselves.

The calls are those of the SDKs' own tests of their resources."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import mock_thread
from tests.support.no_tls import NO_TLS

LINE = b'{"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}\n'
MESSAGE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    with mock_thread() as served:
        yield served.url.removesuffix("/v1")


@pytest.fixture(scope="module")
def client(stand_in) -> Iterator[openai.OpenAI]:
    """Yield a client that refuses responses of other types."""
    with openai.OpenAI(base_url=f"{stand_in}/v1", api_key="any", _strict_response_validation=True) as client:
        yield client


@pytest.fixture(scope="module")
def claude(stand_in) -> Iterator[anthropic.Anthropic]:
    """Yield such a client of Anthropic's API."""
    with anthropic.Anthropic(base_url=stand_in, api_key="any", _strict_response_validation=True) as client:
        yield client


def stored_file(client: openai.OpenAI, content: bytes = b"one two") -> str:
    return client.files.create(file=("a.txt", content), purpose="assistants").id


def test_files(client):
    id = stored_file(client)
    assert client.files.retrieve(id).bytes == 7
    assert id in {one.id for one in client.files.list()}
    assert client.files.delete(id).object == "file"


def test_batches(client):
    batch = client.batches.create(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=stored_file(client, LINE)
    )
    usage = client.batches.retrieve(batch.id).usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (0, 0)
    assert batch.id in {one.id for one in client.batches.list()}


def test_images_as_links(client):
    """LangChain's tool requests them
    (https://github.com/langchain-ai/langchainjs/blob/main/libs/providers/langchain-openai/src/tools/dalle.ts)."""
    linked = client.images.generate(prompt="x", model="dall-e-3", response_format="url", n=2)
    (encoded,) = client.images.generate(prompt="x", model="dall-e-3", response_format="b64_json").data
    for one in linked.data:
        picture = httpx2.get(one.url, verify=NO_TLS)
        assert picture.headers["content-type"] == "image/png"
        assert picture.content == base64.b64decode(encoded.b64_json)
        assert one.b64_json is None
    assert httpx2.get(linked.data[0].url.replace(".png", ".gif"), verify=NO_TLS).status_code == 404


def test_a_list_is_one_page(stand_in, client):
    """The SDKs' pagination reads these members; programs that repeat ``after`` until a page is empty must end
    (https://platform.openai.com/docs/api-reference/files/list)."""
    ids = [stored_file(client) for _ in range(3)]
    first = httpx2.get(f"{stand_in}/v1/files", verify=NO_TLS).json()
    assert [one["id"] for one in first["data"][:3]] == ids[::-1]
    assert (first["first_id"], first["has_more"]) == (ids[2], False)
    rest = httpx2.get(f"{stand_in}/v1/files", params={"after": first["last_id"]}, verify=NO_TLS).json()
    assert (rest["data"], rest["first_id"], rest["last_id"]) == ([], None, None)
    assert {*ids} <= {one.id for one in client.files.list(limit=2)}


def test_moderations(client):
    (result,) = client.moderations.create(input="self-harm/intent").results
    assert (result.flagged, result.categories.self_harm_intent, result.categories.violence_graphic) == (
        True, True, False,
    )  # fmt: skip


CALLS: dict[str, Callable[[openai.OpenAI], Any]] = {
    "completions": lambda client: client.completions.create(model="m", prompt="x"),
    "embeddings": lambda client: client.embeddings.create(model="m", input="x", encoding_format="float"),
    "images": lambda client: client.images.generate(prompt="x"),
    "edited images": lambda client: client.images.edit(image=b"x", prompt="x"),
    "transcriptions": lambda client: client.audio.transcriptions.create(file=b"x", model="m"),
    "translations": lambda client: client.audio.translations.create(file=b"x", model="m"),
    "models": lambda client: client.models.list(),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # translations
@each_row("endpoint", CALLS)
def test_other_endpoints(client, endpoint):
    assert CALLS[endpoint](client) is not None


def test_streams_of_other_endpoints(client):
    """The SDK checks each event."""
    *deltas, done = client.audio.transcriptions.create(file=b"x" * 32000, model="m", stream=True)
    assert done.type == "transcript.text.done"
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    assert "".join(one.delta for one in deltas).strip() == done.text
    (whole,) = client.completions.create(model="m", prompt="x", stream=True)
    assert whole.usage.completion_tokens == len(whole.choices[0].text.split())


def test_a_summary_that_anthropics_api_would_make_is_no_mistake(claude):
    message = claude.beta.messages.create(
        model="m", max_tokens=9, messages=MESSAGE["messages"], compaction={"type": "summarize"}
    )
    assert message.content


def test_a_cached_content_is_a_mistake_because_the_stand_in_has_none(stand_in):
    """google-genai's own tests expect an error for an unknown name."""
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "cachedContent": "cachedContents/c"}
    response = httpx2.post(f"{stand_in}/v1beta/models/m:generateContent", json=body, verify=NO_TLS)
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_the_requested_number_of_choices(client, stand_in):
    """The tests of google-genai request two candidates."""
    chat = client.chat.completions.create(model="m", n=3, messages=MESSAGE["messages"])
    assert [choice.index for choice in chat.choices] == [0, 1, 2]
    body = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"candidateCount": 2}}
    answer = httpx2.post(f"{stand_in}/v1beta/models/m:generateContent", json=body, verify=NO_TLS).json()
    assert [candidate["index"] for candidate in answer["candidates"]] == [0, 1]


def test_an_api_without_choices_has_one_answer(claude):
    assert len(claude.messages.create(**MESSAGE).content) == 1
