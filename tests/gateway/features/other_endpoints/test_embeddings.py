"""Embeddings over real sockets: the requests to each provider, and the responses to each client."""

import base64
import json
import struct
from typing import Any

import httpx2
import openai
import pytest
import trio

from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.in_process import InProcess, gateway
from tests.support.openai_client import openai_client
from tests.support.settled import usages
from tests.support.settled_lines import SettledLines

TEXTS = [f"text {i}" for i in range(5)]


def vector(text: str) -> list[float]:
    """Return the vector that all providers in this file have for ``text``."""
    return [float(len(text)), float(ord(text[-1])), 0.5]


def pack(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def like_openai(asked: ReceivedRequest) -> ScriptedAnswer:
    """Return an answer with base64 if requested, and one token for each character."""
    texts = asked.json["input"]
    texts = [texts] if isinstance(texts, str) else texts
    encode = pack if asked.json.get("encoding_format") == "base64" else list
    data = [{"object": "embedding", "index": i, "embedding": encode(vector(text))} for i, text in enumerate(texts)]
    count = sum(map(len, texts))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return json_answer({"object": "list", "data": data, "model": asked.json["model"], "usage": usage})


def like_cohere(asked: ReceivedRequest) -> ScriptedAnswer:
    texts = asked.json["texts"]
    by_type = {
        type: [(pack if type == "base64" else list)(vector(text)) for text in texts]
        for type in asked.json["embedding_types"]
    }
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(map(len, texts))}}
    return json_answer(
        {"id": "e", "embeddings": by_type, "texts": texts, "meta": meta, "response_type": "embeddings_by_type"}
    )


def like_gemini(asked: ReceivedRequest) -> ScriptedAnswer:
    requests = asked.json.get("requests", [asked.json])
    texts = ["".join(part["text"] for part in one["content"]["parts"]) for one in requests]
    if asked.path.endswith(":embedContent"):
        return json_answer({"embedding": {"values": vector(texts[0])}})
    return json_answer({"embeddings": [{"values": vector(text)} for text in texts]})


def like_tei(asked: ReceivedRequest) -> ScriptedAnswer:
    return json_answer([vector(text) for text in asked.json["inputs"]])


def like_titan(asked: ReceivedRequest) -> ScriptedAnswer:
    """Accept one text, without the model's name in the body."""
    assert set(asked.json) == {"inputText"}
    text = asked.json["inputText"]
    return json_answer({"embedding": vector(text), "inputTextTokenCount": len(text)})


def like_invoked_cohere(asked: ReceivedRequest) -> ScriptedAnswer:
    """Accept only members that Bedrock accepts: no model, and no base64
    (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v4.html)."""
    assert "model" not in asked.json
    assert {*asked.json["embedding_types"]} <= {"float", "int8", "uint8", "binary", "ubinary"}
    return like_cohere(asked)


def like_vertex(asked: ReceivedRequest) -> ScriptedAnswer:
    texts = [one["content"] for one in asked.json["instances"]]
    found = [{"values": vector(text), "statistics": {"token_count": len(text)}} for text in texts]
    return json_answer({"predictions": [{"embeddings": one} for one in found]})


PROVIDERS: dict[str, Any] = {
    "openai/text-embedding-3-small": (like_openai, {"/v1/embeddings"}),
    "cohere/embed-v4.0": (like_cohere, {"/v2/embed"}),
    "gemini/gemini-embedding-001": (
        like_gemini,
        {f"/v1beta/models/gemini-embedding-001:{method}" for method in ("embedContent", "batchEmbedContents")},
    ),
    "tei/bge-m3": (like_tei, {"/embed"}),
    "amazon_bedrock/amazon.titan-embed-text-v2:0": (like_titan, {"/model/amazon.titan-embed-text-v2:0/invoke"}),
    "amazon_bedrock/eu.cohere.embed-v4:0": (like_invoked_cohere, {"/model/eu.cohere.embed-v4:0/invoke"}),
    "vertex/text-embedding-005": (
        like_vertex,
        {"/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict"},
    ),
}


async def post(served: InProcess, path: str = "/v1/embeddings", **body: Any) -> httpx2.Response:
    return await served.post(path, json=body)


def vectors_of(found: httpx2.Response) -> list[Any]:
    assert found.status_code == 200, found.text
    return [item["embedding"] for item in found.json()["data"]]


@each_row("model", PROVIDERS, every=3)
async def test_every_client_gets_the_vectors_of_every_provider(model):
    answering, paths = PROVIDERS[model]
    async with endpoint_provider(answering) as provider:
        entry = {"model": model, "name": "mine", "access_key": "provider-key", "base_url": provider.url}
        if model.startswith("tei"):
            entry["endpoints"] = {"embeddings": {"path": "/embed", "shape": "tei"}}
        if model.startswith("vertex"):
            entry |= {"project": "p", "location": "l"}
        async with gateway(settings(entry)) as served:
            await every_client_gets_its_vectors(served)
    assert {asked.path for asked in provider.asked} == paths
    assert not any(b"mine" in asked.body for asked in provider.asked)
    assert all("provider-key" in str(asked.headers) for asked in provider.asked)


@each_row(("texts", "tokens"), [(["a"], 11), (["a"] * 97, 22)])
@each_row("header", [("x-amzn-bedrock-input-token-count", "11"), ("x-amzn-bedrock-input-token-count", "x")])
async def test_tokens_that_bedrock_counts_in_a_header_are_the_usage(texts, tokens, header):
    """The body of Cohere's models on Bedrock has no usage."""

    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"embeddings": {"float": [vector(text) for text in asked.json["texts"]]}}, 200, header)

    async with endpoint_provider(answer) as provider:
        entry = {
            "model": "amazon_bedrock/eu.cohere.embed-v4:0",
            "name": "m",
            "access_key": "k",
            "base_url": provider.url,
        }
        async with gateway(settings(entry)) as served:
            found = await post(served, model="m", input=texts)
    assert len(vectors_of(found)) == len(texts)
    assert (found.json()["usage"]["prompt_tokens"] == tokens) is (header[1] == "11")


async def every_client_gets_its_vectors(served: InProcess) -> None:
    wanted = [vector(text) for text in TEXTS]
    assert vectors_of(await post(served, model="mine", input=TEXTS)) == wanted
    coded = await post(served, model="mine", input=TEXTS, encoding_format="base64")
    assert vectors_of(coded) == list(map(pack, wanted))
    for path in ("/v1/embed", "/v2/embed"):
        found = await post(
            served, path, model="mine", texts=TEXTS, input_type="search_query", embedding_types=["float"]
        )
        assert found.json()["embeddings"] == {"float": wanted}, (path, found.text)
    found = await post(served, "/v1beta/models/mine:embedContent", content={"parts": [{"text": TEXTS[0]}]})
    assert found.json()["embedding"] == {"values": wanted[0]}, found.text
    batch = [{"model": "models/mine", "content": {"parts": [{"text": text}]}} for text in TEXTS]
    found = await post(served, "/v1beta/models/mine:batchEmbedContents", requests=batch)
    assert found.json()["embeddings"] == [{"values": one} for one in wanted], found.text


async def test_bytes_of_base64_pass_unchanged():
    """api7/aisix#393, agentgateway/agentgateway#1619: gateways mistook them for lists of floats."""
    raw = json.dumps(
        {"data": [{"index": 0, "embedding": pack([0.1])}], "usage": {"prompt_tokens": 3}, "model": "m"}, indent=1
    ).encode()
    async with before(lambda asked: ScriptedAnswer((raw[:20], raw[20:])), entry={"name": "mine"}) as (served, provider):
        found = await post(served, model="mine", input="x", encoding_format="base64", normalized=True)
        assert found.content == raw
        assert found.headers["x-trigate-lane"] == "byte"
        (asked,) = provider.asked
        assert asked.json == {"model": "m-1", "input": "x", "encoding_format": "base64", "normalized": True}


def about(message: str, param: str | None = "encoding_format", code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


LITERAL = {"type": "literal_error", "loc": ["body", "encoding_format"], "msg": "Input should be 'float'"}
REFUSALS: dict[str, tuple[int, Any]] = {
    "OpenAI": (400, about("Unknown parameter: 'encoding_format'.")),
    "OpenAI, a value": (400, about(
        "Unsupported value: 'encoding_format' does not support 'base64' with this model.", code="unsupported_value")),
    "OpenAI, the value alone": (400, about(
        "Unsupported value: 'encoding_format' does not support 'base64' with this model.", None)),
    "FastAPI": (422, {"detail": [{**LITERAL, "input": "base64", "ctx": {"expected": "'float'"}}]}),
    "FastAPI, older": (422, {"detail": [{"loc": ["body", "encoding_format"], "type": "value_error.const",
                                         "msg": "unexpected value; permitted: 'float'"}]}),
    "vLLM": (400, {"object": "error", "message": str([LITERAL]), "type": "BadRequestError", "code": 400}),
    "FastAPI, with the path as param": (400, about("Input should be 'float'", "body.encoding_format")),
    "param alone": (400, about("Input should be 'float'")),
    "base64 alone": (400, {"error": "base64 is not supported"}),
    "a sentence": (400, {"message": "encoding_format must be float"}),
    "with a quotation": (422, {"detail": [{**LITERAL, "input": "base64"}, {
        "loc": ["body", "input"], "type": "x", "msg": "not: speed: Extra inputs are not permitted"}]}),
}  # fmt: skip


@each_row("words", REFUSALS, every=4)
async def test_a_provider_that_refuses_base64_gets_later_requests_without_it(words):
    """stevereiner/flexible-graphrag#17, volcengine/OpenViking#2092. OpenAI's SDKs request it by default."""
    status, refusal = REFUSALS[words]

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer(refusal, status) if "encoding_format" in asked.json else like_openai(asked)

    async with before(answering) as (served, provider):
        for _ in range(2):
            found = await post(served, model="openai/m-1", input=["x"], encoding_format="base64")
            assert vectors_of(found) == [pack(vector("x"))]
            assert "x-trigate-dropped" not in found.headers
        assert ["encoding_format" in asked.json for asked in provider.asked] == [True, False, False]
        floats = await post(served, model="openai/m-1", input=["x"], encoding_format="float")
        assert vectors_of(floats) == [vector("x")]


async def test_a_refusal_of_another_member_reaches_the_client():
    """The gateway learns about no other member, and forwards a client's own mistake after at most one resend."""
    for error, times in (
        (about("input must not be empty", "input"), 1),
        (about("'encoding_format' is fine, 'input' is not base64", None), 2),
    ):
        async with before(lambda asked, error=error: json_answer(error, 400)) as (served, provider):
            found = await post(served, model="openai/m-1", input=["x"], encoding_format="base64")
            assert (found.status_code, found.json()["error"]["message"]) == (400, error["error"]["message"])
            assert len(provider.asked) == times


async def test_a_long_list_is_sent_in_pieces_and_answered_as_one():
    """huggingface/text-embeddings-inference#378: 70 texts for a server that accepts 32."""
    texts = [f"text {i}" for i in range(70)]
    async with before(like_openai, entry={"embeddings": {"inputs": 32}}) as (served, provider):
        found = await post(served, model="openai/m-1", input=texts, encoding_format="base64")
        assert vectors_of(found) == [pack(vector(text)) for text in texts]
        assert [item["index"] for item in found.json()["data"]] == list(range(70))
        assert found.json()["usage"]["prompt_tokens"] == sum(map(len, texts))
        assert [len(asked.json["input"]) for asked in provider.asked] == [32, 32, 6]


async def test_embeddings_have_one_log_line_with_counted_or_estimated_usage():
    """The usage is never silently zero (BerriAI/litellm#36914)."""

    def answer_without_usage(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"data": [{"embedding": [1], "index": i} for i, _ in enumerate(asked.json["input"])]})

    for answering, input, wanted in ((like_openai, 480, False), (answer_without_usage, 160, True)):
        async with before(answering, entry={"embeddings": {"inputs": 32}}) as (served, _):
            with usages(served) as seen:
                await post(served, model="openai/m-1", input=["a text"] * 80)
            assert [(one.input, one.output, one.estimated) for one in seen] == [(input, 0, wanted)]


async def test_a_plain_call_of_an_sdk_returns_numbers():
    """The official client requests base64 by default, and the switch rejects lists of ids in place of texts."""
    async with before(like_openai, entry={"name": "mine"}) as (served, provider):
        async with openai_client(served.url) as sdk:
            found = await sdk.embeddings.create(model="mine", input=TEXTS)
            assert [item.embedding for item in found.data] == [vector(text) for text in TEXTS]
            with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False") as refused:
                await sdk.embeddings.create(model="mine", input=[[1, 2], [3]])
            assert "the vocabulary of m-1 may differ from OpenAI's" in refused.value.message
            assert "`embeddings: {token_arrays: true}`" in refused.value.message
            assert refused.value.param == "input"
        assert [asked.json["encoding_format"] for asked in provider.asked] == ["base64"]


@each_row("input", [[1, 2], [[1, 2], [3]]])
@each_row(
    ("model", "more", "status"),
    [
        ("openai/text-embedding-3-small", {}, 200),
        ("mine/text-embedding-3-large", {"provider_interface": "openai"}, 200),
        ("mine/bge-m3", {"provider_interface": "openai"}, 400),
        ("mine/bge-m3", {"provider_interface": "openai", "embeddings": {"token_arrays": True}}, 200),
        ("openai/text-embedding-3-small", {"embeddings": {"token_arrays": False}}, 400),
        ("tei/bge-m3", {}, 400),
        ("tei/bge-m3", {"embeddings": {"token_arrays": True}}, 200),
        ("cohere/embed-v4.0", {}, 400),
        ("gemini/gemini-embedding-001", {"embeddings": {"token_arrays": True}}, 400),
    ],
)
async def test_token_ids_pass_if_the_model_name_or_the_entry_has_their_tokenizer(model, more, status, input):
    """LangChain sends them by default; another model would decode them as other words (danny-avila/rag_api#104)."""

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        many = len(input) if isinstance(input[0], list) else 1
        if "tei" in model:
            return json_answer([[1.0]] * many)
        return json_answer({"data": [{"embedding": [1], "index": i} for i in range(many)]})

    async with endpoint_provider(answering) as provider:
        entry = {"model": model, "name": "mine", "access_key": "k", "base_url": provider.url, **more}
        if "tei" in model:
            entry["endpoints"] = {"embeddings": {"path": "/embed", "shape": "tei"}}
        async with gateway(settings(entry)) as served:
            found = await post(served, model="mine", input=input)
        assert found.status_code == status, found.text
        assert len(provider.asked) == (status == 200)
        if status == 200:
            sent = provider.asked[0].json
            assert sent["inputs" if "tei" in model else "input"] in (input, [input])
        elif "cohere" in model or "gemini" in model:
            assert "token ids, which this model's provider does not support" in found.text
        else:
            assert "token_arrays: true" in found.text


@pytest.mark.soak
async def test_as_many_token_ids_pass_as_openai_accepts():
    """LangChain sends its texts as token ids, up to the maximum (langchain-ai/langchain#31227)."""

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"data": [{"embedding": [1], "index": i} for i, _ in enumerate(asked.json["input"])]})

    ids = [[100_000] * 1000] * 300
    async with before(answering, entry={"embeddings": {"token_arrays": True}}) as (served, provider):
        assert len(vectors_of(await post(served, model="openai/m-1", input=ids))) == 300
        assert provider.asked[0].json["input"] == ids
        too_many = await post(served, model="openai/m-1", input=ids * 2)
        assert too_many.status_code == 413


async def test_the_provider_connection_closes_when_the_client_leaves():
    """The client may also leave between two pieces of a list (openclaw/openclaw#116146)."""

    second = trio.Event()

    async def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.json["input"] == ["b"]:
            second.set()
            await trio.sleep_forever()
        return like_openai(asked)

    async with before(answering, entry={"embeddings": {"inputs": 1}}) as (served, provider):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: post(served, model="openai/m-1", input=["a", "b", "c"]))
            with trio.fail_after(5):
                await second.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await provider.left_now.wait()
        assert len(provider.asked) == 2


async def test_a_failed_piece_of_a_list_fails_the_whole_request():
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if "text 40" in asked.json["input"]:
            return json_answer({"error": {"message": "text 40 is too long", "type": "invalid_request_error"}}, 400)
        return like_openai(asked)

    async with before(answering, entry={"embeddings": {"inputs": 32}}) as (served, provider):
        found = await post(served, model="openai/m-1", input=[f"text {i}" for i in range(70)])
        assert (found.status_code, found.json()["error"]["message"]) == (400, "text 40 is too long")
        assert len(provider.asked) == 2
        whole = await post(served, model="openai/m-1", input=["x"])
        assert vectors_of(whole) == [vector("x")]


@each_row("status", [400, 429, 503])
async def test_a_list_that_fails_costs_what_the_answers_to_its_earlier_pieces_reported(status: int):
    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if "c" in asked.json["input"]:
            return json_answer({"error": {"message": "no", "type": "invalid_request_error"}}, status)
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        return json_answer({"object": "list", "data": data, "usage": {"prompt_tokens": 1234}})

    async with before(answering, entry={"embeddings": {"inputs": 1}, "price": {"input": 1, "output": 1}}) as (
        served,
        _,
    ):
        lines = SettledLines(served)
        assert (await post(served, model="openai/m-1", input=["a", "b", "c", "d"])).status_code == status
        (line,) = await lines.next()
        assert line["cost_usd"] == 0.002468


async def test_a_shifted_list_is_a_bad_answer():
    """BerriAI/litellm#20949: with fewer vectors than texts, each vector belonged to the wrong text."""

    def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"object": "list", "data": [{"index": 0, "embedding": [1]}], "usage": {"prompt_tokens": 1}})

    async with before(answering) as (served, _):
        found = await post(served, model="openai/m-1", input=["a", "b"])
        assert found.status_code == 502
        assert found.json()["error"]["code"] == "bad_answer"


async def test_only_targets_with_the_same_model_replace_a_failed_one():
    """decolua/9router#117: vectors of another model are valid but useless."""
    down = json_answer({"error": {"message": "down"}}, 503)
    async with endpoint_provider(lambda asked: down) as first, endpoint_provider(like_openai) as second:
        for model, status in (("second/m-1", 200), ("second/m-2", 503)):
            found = await post_to_route(first, second, model)
            assert found.status_code == status, (model, found.text)
        assert [asked.json["model"] for asked in second.asked] == ["m-1"]


async def post_to_route(first: EndpointProvider, second: EndpointProvider, model: str) -> httpx2.Response:
    entries = (
        {"model": "first/m-1", "access_key": "k", "base_url": f"{first.url}/v1"},
        {"model": model, "access_key": "k", "base_url": f"{second.url}/v1"},
    )
    aliases = {"embedder": {"targets": ["first/m-1", model]}}
    async with gateway(settings(*entries, model_aliases=aliases, retries={"attempts": 2, "wait": 0})) as served:
        return await post(served, model="embedder", input="x")


async def test_a_changed_purpose_is_reported_and_its_loss_fails_strict_mode():
    async with endpoint_provider(like_cohere) as provider:
        entry = {"model": "cohere/embed-v4.0", "access_key": "k", "base_url": provider.url}
        async with gateway(settings(entry)) as served:
            found = await post(served, model="cohere/embed-v4.0", input="x")
            assert found.headers["x-trigate-adapted"] == "input_type=search_document"
            lost = await post(served, model="cohere/embed-v4.0", input="x", task="text-matching")
            assert lost.headers["x-trigate-dropped"] == "task"
        async with gateway(settings(entry, strict=True)) as served:
            refused = await post(served, model="cohere/embed-v4.0", input="x", task="text-matching")
            assert refused.status_code == 400
            assert "task" in refused.json()["error"]["message"]


async def test_different_models_in_the_body_and_the_path_are_refused():
    async with before(like_openai, entry={"name": "mine"}) as (served, provider):
        one = {"model": "models/other", "content": {"parts": [{"text": "x"}]}}
        found = await post(served, "/v1beta/models/mine:batchEmbedContents", requests=[one])
        assert found.status_code == 400
        assert "requests[0].model" in found.json()["error"]["message"]
        assert provider.asked == []


async def test_errors_have_the_format_of_the_client():
    """Text Embeddings Inference has two formats of errors (its openapi.json)."""
    forms = (
        ({"error": "batch size 3 > 2", "error_type": "Validation"}, 413, 413),
        ({"message": "the model has failed", "type": "Backend"}, 424, 502),
        ({"error": "Model is overloaded", "error_type": "Overloaded"}, 429, 429),
        ({"error": "no tokens", "error_type": "Tokenizer"}, 422, 422),
    )
    for body, status, wanted in forms:
        async with before(lambda asked, body=body, status=status: json_answer(body, status)) as (served, _):
            message = body.get("error") or body["message"]
            openai = await post(served, model="openai/m-1", input="x")
            cohere = await post(served, "/v2/embed", model="openai/m-1", texts=["x"])
            gemini = await post(served, "/v1beta/models/openai/m-1:embedContent", content={"parts": [{"text": "x"}]})
            assert {found.status_code for found in (openai, cohere, gemini)} == {wanted}, body
            assert openai.json()["error"]["message"] == message
            assert cohere.json()["message"] == message
            assert gemini.json()["error"]["message"] == message


async def test_vectors_of_megabytes_stream_through():
    """BerriAI/litellm#32386: a gateway buffered them completely."""
    one = b'{"object":"embedding","index":%d,"embedding":[' + b",".join([b"0.0123456789"] * 1536) + b"]}"
    pieces = [b'{"object":"list","data":[', *(one % i + (b"," if i < 255 else b"") for i in range(256)), b"],"]
    pieces.append(b'"model":"m-1","usage":{"prompt_tokens":7,"total_tokens":7}}')
    texts = ["x"] * 256
    async with before(lambda asked: ScriptedAnswer(pieces)) as (served, _):
        found = await post(served, model="openai/m-1", input=texts)
        assert found.content == b"".join(pieces)
        with pytest.raises(httpx2.RemoteProtocolError):
            await post(served, model="openai/m-1", input=texts[1:])
