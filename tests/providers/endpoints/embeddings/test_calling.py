"""Requests for embeddings: edits, translation, splitting and refusals."""

import json
from typing import Any

import pytest

from providers.endpoints.embeddings.calling import EmbeddingCall, call
from providers.endpoints.embeddings.shapes import ClientShape
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.draft import Draft, adapted_paths, dropped_paths
from streams.errors import GatewayError

TRAITS = EmbeddingTraits()


def call_of(
    body: Any, shape: str = "openai", traits: EmbeddingTraits = TRAITS, client: ClientShape = "openai", model: str = "m"
) -> EmbeddingCall:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(client, Draft.of(raw), model, shape, traits)


def body_of(*args: Any, **kwargs: Any) -> Any:
    (body,) = call_of(*args, **kwargs).bodies
    return json.loads(body)


def prompt_texts(batch: Any) -> list[str]:
    return [one["content"]["parts"][0]["text"] for one in batch["requests"]]


def refusal(*args: Any, **kwargs: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        call_of(*args, **kwargs)
    return caught.value


def test_a_request_of_the_same_shape_changes_only_the_model():
    raw = b'{ "input":"a\\u00e9","model":"m","encoding_format":"base64","normalized":1.0, "truncation":true }'
    assert call_of(raw).bodies == (raw,)
    # api7/aisix#393: the SDK's default of `base64` passes, and so do unknown members.
    assert call_of(raw, model="other").bodies == (
        b'{"input":"a\\u00e9","model":"other","encoding_format":"base64","normalized":1.0,"truncation":true}',
    )


def test_no_format_is_added_if_the_client_sends_none():
    """BerriAI/litellm#38774: the next gateway rejected another gateway's own default."""
    for shape in ("openai", "mistral", "voyage", "jina", "nim", "vllm"):
        assert body_of({"model": "m", "input": "x"}, shape) == {"model": "m", "input": "x"}, shape


def test_members_have_the_provider_s_names():
    """By the SDKs of mistralai 3.7 and voyageai 0.5, and by Jina's page."""
    body = {"model": "m", "input": ["x"], "dimensions": 8, "encoding_format": "base64"}
    for shape, wanted in {
        "openai": body,
        "mistral": {"model": "m", "input": ["x"], "output_dimension": 8, "encoding_format": "base64"},
        "voyage": {"model": "m", "input": ["x"], "output_dimension": 8, "encoding_format": "base64"},
        "jina": {"model": "m", "input": ["x"], "dimensions": 8, "embedding_type": "base64"},
    }.items():
        assert body_of(body, shape) == wanted, shape
        assert body_of(wanted, "openai") == body, shape
    # Voyage knows base64 and null.
    assert body_of({"model": "m", "input": "x", "encoding_format": "float"}, "voyage") == {"model": "m", "input": "x"}
    # Voyage's client on Jina's server, and the other way round.
    assert body_of({"model": "m", "input": "x", "output_dtype": "binary"}, "jina")["embedding_type"] == "binary"
    assert body_of({"model": "m", "input": "x", "embedding_type": "binary"}, "voyage")["output_dtype"] == "binary"


def test_the_purpose_of_a_text_has_one_meaning_and_each_provider_s_word():
    for client_words in (
        {"input_type": "search_query"}, {"input_type": "query"}, {"task": "retrieval.query"},
        {"task_type": "RETRIEVAL_QUERY"},
    ):  # fmt: skip
        body = {"model": "m", "input": ["x"], **client_words}
        for shape, member, word in (
            ("voyage", "input_type", "query"), ("jina", "task", "retrieval.query"), ("nim", "input_type", "query"),
            ("cohere", "input_type", "search_query"),
        ):  # fmt: skip
            found = body_of(body, shape)
            assert found[member] == word, (client_words, shape)
            assert not {"input_type", "task", "task_type"} - {member} & found.keys(), (client_words, shape)
        assert body_of(body, "gemini")["requests"][0]["taskType"] == "RETRIEVAL_QUERY", client_words
        # An unknown server may understand the client's word.
        assert body_of(body, "openai") == body, client_words


def test_a_purpose_that_the_provider_lacks_is_dropped_and_reported():
    never = EmbeddingTraits(takes_purpose="never")
    for body, shape, traits in (
        ({"input_type": "query"}, "openai", never),
        ({"task": "classification"}, "voyage", TRAITS),
        ({"task": "text-matching"}, "cohere", TRAITS),
        ({"input_type": "image"}, "gemini", TRAITS),
    ):
        found = call_of({"model": "m", "input": ["x"], **body}, shape, traits)
        assert dropped_paths(found.edits) == tuple(body), (body, shape)


def test_a_purpose_that_is_required_is_the_entry_s_and_reported():
    for shape, form in (("cohere", "input_type=search_document"), ("nim", "input_type=passage")):
        found = call_of({"model": "m", "input": ["x"]}, shape, EmbeddingTraits(takes_purpose="required"))
        assert adapted_paths(found.edits) == (form,), shape
    query = EmbeddingTraits(takes_purpose="required", purpose="query")
    assert body_of({"model": "m", "input": "x"}, "cohere", query)["input_type"] == "search_query"
    assert body_of({"model": "m", "input": "x"}, "nim", query)["input_type"] == "query"
    one = call_of({"model": "m", "input": "x", "input_type": "query"}, "nim", EmbeddingTraits(takes_purpose="required"))
    assert adapted_paths(one.edits) == ()


def test_each_text_is_a_separate_request_for_gemini():
    """vectorize-io/hindsight#4001, getzep/graphiti#1848: parts of one content are one vector."""
    body = {"model": "alias", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"}
    assert body_of(body, "gemini", model="e-2") == {
        "requests": [
            {"model": "models/e-2", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8}
            for text in ("a", "b")
        ]
    }


def test_a_gemini_client_s_parts_are_one_input():
    """As google-genai 3.4 sends it."""
    one = {"model": "models/alias", "content": {"parts": [{"text": "a"}, {"text": "b"}], "role": "user"}}
    batch = {"requests": [{**one, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}] * 2}
    found = call_of(batch, "voyage", client="gemini_batch")
    assert json.loads(found.bodies[0]) == {
        "model": "m", "input": ["ab", "ab"], "output_dimension": 8, "input_type": "query",
    }  # fmt: skip
    assert body_of(one, client="gemini_one") == {"model": "m", "input": ["ab"]}
    titled = call_of({**one, "title": "T"}, client="gemini_one")
    assert dropped_paths(titled.edits) == ("title",)
    two = {"requests": [one, {**one, "outputDimensionality": 8}]}
    assert refusal(two, client="gemini_batch").info.param == "requests[1]"


def test_a_gemini_client_s_request_for_gemini_has_the_model_s_name_inside():
    one = b'{"model":"models/alias","content":{"parts":[{"text":"a"}]},"x":1.50}'
    assert call_of(one, "gemini", client="gemini_one", model="e-2").bodies == (
        one.replace(b"models/alias", b"models/e-2"),
    )
    batch = b'{"requests":[%b,%b]}' % (one, one)
    assert call_of(batch, "gemini", client="gemini_batch", model="e-2").bodies == (
        batch.replace(b"models/alias", b"models/e-2"),
    )


def test_texts_for_cohere_have_all_required_members():
    body = {"model": "alias", "input": "a", "dimensions": 256, "encoding_format": "base64", "user": "u"}
    found = call_of(body, "cohere", model="embed-v4.0")
    assert json.loads(found.bodies[0]) == {
        "model": "embed-v4.0", "texts": ["a"], "input_type": "search_document", "embedding_types": ["base64"],
        "output_dimension": 256,
    }  # fmt: skip
    assert dropped_paths(found.edits) == ("user",)


def test_a_cohere_client_s_request_is_sent_to_another_provider():
    body = {"model": "alias", "texts": ["a", "b"], "input_type": "search_query", "output_dimension": 8,
            "embedding_types": ["float"], "truncate": "END"}  # fmt: skip
    for client in ("cohere_v1", "cohere_v2"):
        found = call_of(body, "voyage", client=client)
        assert json.loads(found.bodies[0]) == {
            "model": "m", "input": ["a", "b"], "output_dimension": 8, "input_type": "query",
        }, client  # fmt: skip
        assert dropped_paths(found.edits) == ("truncate",), client
    assert body_of({**body, "embedding_types": ["int8"]}, "voyage", client="cohere_v2")["output_dtype"] == "int8"
    for shape in ("openai", "gemini"):
        failed = refusal({**body, "embedding_types": ["float", "int8"]}, shape, client="cohere_v2").info
        assert (failed.status, failed.param) == (400, "embedding_types"), shape


def test_a_cohere_client_s_request_for_cohere_passes():
    raw = b'{"model":"m","inputs":[{"content":[{"type":"text","text":"a"}]}],"max_tokens":3,"priority":1}'
    assert call_of(raw, "cohere", client="cohere_v2").bodies == (raw,)
    # A request to the older path goes to the newer one.
    older = {"model": "alias", "texts": ["a"], "input_type": "classification", "truncate": "NONE"}
    assert body_of(older, "cohere", client="cohere_v1") == {
        "model": "m", "texts": ["a"], "input_type": "classification", "embedding_types": ["float"], "truncate": "NONE",
    }  # fmt: skip


def test_images_are_written_for_providers_that_accept_them():
    url = "data:image/png;base64,AAAA"
    jina = {"model": "m", "input": [{"text": "a"}, {"image": url}]}
    assert body_of(jina, "jina") == jina
    assert body_of(jina) == jina, "objects pass untouched within the family"
    assert body_of({**jina, "input": [{"image": url}]}, "cohere")["images"] == [url]
    mixed = body_of(jina, "cohere")["inputs"]
    assert mixed[1] == {"content": [{"type": "image_url", "image_url": {"url": url}}]}
    part = body_of(jina, "gemini")["requests"][1]["content"]["parts"][0]
    assert part == {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    images = {"model": "m", "images": [url], "input_type": "image"}
    assert body_of(images, "jina", client="cohere_v2")["input"] == [{"image": url}]
    assert refusal(images, "openai", client="cohere_v2").info.param == "input"


def test_the_configured_dimensions_are_the_default():
    traits = EmbeddingTraits(dimensions=64)
    assert body_of({"model": "m", "input": "x"}, "mistral", traits)["output_dimension"] == 64
    assert body_of({"model": "m", "input": "x", "dimensions": 8}, "mistral", traits)["output_dimension"] == 8
    assert body_of({"model": "m", "input": "x"}, "gemini", traits)["requests"][0]["outputDimensionality"] == 64


def test_a_list_over_the_limit_is_cut_in_order():
    """huggingface/text-embeddings-inference#378, zilliztech/memsearch#68"""
    texts = [f"t{i}" for i in range(70)]
    traits = EmbeddingTraits(inputs=32)
    for client, shape, body, read in (
        ("openai", "openai", {"input": texts}, lambda body: body["input"]),
        ("openai", "cohere", {"input": texts}, lambda body: body["texts"]),
        ("openai", "gemini", {"input": texts}, prompt_texts),
        ("cohere_v2", "cohere", {"texts": texts}, lambda body: body["texts"]),
        ("gemini_batch", "gemini", {"requests": [{"content": {"parts": [{"text": text}]}} for text in texts]},
         prompt_texts),
    ):  # fmt: skip
        found = call_of({"model": "m", **body, "dimensions": 8} if client == "openai" else {"model": "m", **body},
                       shape, traits, client)  # fmt: skip
        pieces = [read(json.loads(one)) for one in found.bodies]
        assert [len(piece) for piece in pieces] == [32, 32, 6] == list(found.answer.counts), (client, shape)
        assert [text for piece in pieces for text in piece] == texts, (client, shape)


def test_a_list_is_split_by_tokens_too():
    """OpenAI takes 300,000 tokens a request, and programs send more (langchain-ai/langchain#31227)."""
    traits = EmbeddingTraits(inputs=2048, tokens=1000, token_arrays=True)
    texts = ["x" * 1350] * 5  # an estimate of 500 tokens each
    assert call_of({"model": "m", "input": texts}, traits=traits).answer.counts == (1,) * 5
    ids = [[1] * 400] * 5
    assert call_of({"model": "m", "input": ids}, traits=traits).answer.counts == (2, 2, 1)
    assert call_of({"model": "m", "input": list(range(5000))}, traits=traits).answer.counts == (1,)


def test_lists_are_not_split_if_that_would_change_vectors_or_is_disabled():
    """cloudwego/eino-ext#225: models that read a list as one text."""
    body = {"model": "m", "input": ["x"] * 5}
    for traits, more in (
        (EmbeddingTraits(), {}),
        (EmbeddingTraits(inputs=2, splits=False), {}),
        (EmbeddingTraits(inputs=2), {"late_chunking": True}),
        (EmbeddingTraits(inputs=5), {}),
    ):
        assert len(call_of({**body, **more}, "jina", traits).bodies) == 1, (traits, more)


def test_an_invalid_embedding_request_is_a_400_with_the_path():
    for body, client, param in (
        ({"model": "m"}, "openai", "input"),
        ({"model": "m", "input": [{"x": 1}]}, "openai", "input[0]"),
        ({"model": "m", "input": "x", "dimensions": "8"}, "openai", "dimensions"),
        ({"model": "m"}, "cohere_v2", "texts"),
        ({"model": "m", "texts": ["x"], "input_type": "x"}, "cohere_v2", "input_type"),
        ({"model": "m", "texts": ["x"], "embedding_types": ["x"]}, "cohere_v2", "embedding_types[0]"),
        ({"requests": []}, "gemini_batch", "requests"),
        ({"content": {"parts": [{"x": 1}]}}, "gemini_one", "content.parts[0]"),
    ):
        shape = "gemini" if client == "openai" else "openai"
        failed = refusal(body, shape, client=client).info
        assert (failed.status, failed.param) == (400, param), body
