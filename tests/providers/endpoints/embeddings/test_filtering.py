"""The responses of embeddings endpoints: unchanged, sorted, encoded, translated, joined or rejected."""

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from providers.endpoints.embeddings.calling import EmbeddingCall, call
from providers.endpoints.embeddings.filtering import MAX_BUFFERED, EmbeddingAnswerConverter
from providers.endpoints.embeddings.shapes import ClientShape
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from streams.events import Usage
from tests.support.each_row import each_row

VECTORS = ([0.1, -2.5e-08, 1.0], [3.4028235e38, 0.30000001192092896, -0.0])


def pack_vector(numbers: Iterable[float]) -> str:
    """Encode as for a client's numpy: ``np.frombuffer(base64.b64decode(text), dtype="float32")``."""
    return base64.b64encode(b"".join(struct.pack("<f", number) for number in numbers)).decode()


def singles(numbers: Iterable[float]) -> list[float]:
    return [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]


def call_of(
    body: Any, shape: str = "openai", client: ClientShape = "openai", traits: EmbeddingTraits | None = None
) -> EmbeddingCall:
    return call(client, Draft.of(json.dumps({"model": "m", **body}).encode()), "m", shape, traits or EmbeddingTraits())


def filter_answer(made: EmbeddingCall, answer: Any, piece: int = 4096) -> tuple[bytes, Usage | None]:
    """Return the client's part of ``answer``, which arrives in pieces."""
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    reading = EmbeddingAnswerConverter(made.answer)
    got = b"".join(reading.take(data[at : at + piece]) for at in range(0, len(data), piece))
    return got + reading.close(), reading.usage


def join_answers(made: EmbeddingCall, answers: Sequence[Any]) -> tuple[bytes, Usage | None]:
    """Join the ``answers`` to all requests for the client."""
    reading = EmbeddingAnswerConverter(made.answer)
    for number, answer in enumerate(answers):
        if number:
            reading.end_part()
        reading.begin()
        assert reading.take(json.dumps(answer).encode()) == b""
    body = reading.close()
    return body, reading.usage


def refusal(made: EmbeddingCall, answer: Any) -> str:
    with pytest.raises(GatewayError) as caught:
        filter_answer(made, answer)
    failed = caught.value.info
    assert (failed.status, failed.code, failed.reason) == (502, "bad_answer", "bad_answer")
    return failed.message


def answer_of(*vectors: Any, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "m-1", "usage": {"prompt_tokens": 5, "total_tokens": 5}, **more}


TWO = {"input": ["a", "b"]}
BASE64 = {"encoding_format": "base64"}


def test_vectors_are_put_in_the_order_of_their_index():
    """BerriAI/litellm#20949, helixml/kodit#77"""
    answer = answer_of([1], [2], [3])
    answer["data"] = [answer["data"][2], answer["data"][0], answer["data"][1]]
    body, _ = filter_answer(call_of({"input": ["a", "b", "c"]}), answer)
    assert [(item["index"], item["embedding"]) for item in json.loads(body)["data"]] == [(0, [1]), (1, [2]), (2, [3])]


def test_a_shifted_list_is_never_passed_on():
    three = answer_of([1], [2], [3])
    twice = answer_of([1], [2])
    twice["data"][1]["index"] = 0
    assert "3 vectors for 2 inputs" in refusal(call_of(TWO), three)
    assert "1 vectors for 2 inputs" in refusal(call_of(TWO), answer_of([1]))
    assert "each once" in refusal(call_of(TWO), twice)
    for wrong in (b"[]", b"{", b"<html>", {"data": 1}, {"data": [1, 2]}, {"data": [{}, {}]}, {"object": "list"}):
        refusal(call_of(TWO), wrong)
    assert "1 vectors for 2 inputs" in refusal(call_of(TWO, "cohere"), {"embeddings": {"float": [[1]]}})
    assert "1 vectors for 2 inputs" in refusal(call_of(TWO, "gemini"), {"embeddings": [{"values": [1]}]})
    for wrong in (b"[]", {"embeddings": 1}, {"embeddings": {}}, {"embeddings": [{}, {}]}):
        refusal(call_of(TWO, "cohere"), wrong)
        refusal(call_of(TWO, "gemini"), wrong)
    refusal(call_of({**TWO, **BASE64}), answer_of([1, "x"], [2]))
    refusal(call_of(TWO, "cohere"), {"embeddings": {"base64": ["!", "!"]}})
    refusal(call_of(TWO, "cohere"), {"embeddings": {"base64": [pack_vector([float("nan")])] * 2}})


@pytest.mark.parametrize(
    "filled", [b"{},", *(pytest.param(one, marks=pytest.mark.soak) for one in (b"1,", b"[],", b'"a":1,', b'{"a":1},'))]
)
def test_many_small_values_are_refused(filled):
    bomb = filled * (2**21 // len(filled))
    for wrong in (b'{"data":[%b1]}' % bomb, b'{"embeddings":{"float":[%b1]}}' % bomb, b"{%b}" % bomb[:-1]):
        refusal(call_of(TWO, "cohere"), wrong)
        refusal(call_of(TWO), wrong[: 2**20])


def test_an_answer_without_counts_is_an_answer():
    """Ollama and others leave usage out."""
    answer = answer_of(*VECTORS)
    del answer["usage"], answer["data"][0]["index"], answer["data"][1]["index"]
    assert filter_answer(call_of({"input": ["x" * 40, "y" * 40]}), answer)[1].estimated
    assert filter_answer(call_of({"input": ["x" * 40, "y" * 40]}), answer)[1] == Usage(input=21), (
        "4 characters to a token"
    )
    assert filter_answer(call_of({"messages": []}), answer)[1] == Usage(input=1)
    ids = call_of({"input": [[1, 2, 3], [4, 5]]}, traits=EmbeddingTraits(token_arrays=True))
    assert filter_answer(ids, answer)[1] == Usage(input=5)
    for client, body in (("openai", TWO), ("cohere_v1", {"texts": ["a", "b"]}), ("cohere_v2", {"texts": ["a", "b"]})):
        told = json.loads(filter_answer(call_of(body, "gemini", client), {"embeddings": [{"values": [1]}] * 2})[0])
        usage = told.get("usage") or told["meta"]["billed_units"]  # which LangChain adds up unasked
        assert set(usage.values()) == {1}, client
    picture = "data:image/png;base64," + "A" * 10**6
    assert filter_answer(call_of({"input": [{"image": picture}, {"text": "x"}]}), answer)[1].input < 1700


@each_row("form", ["float", "base64"])
def test_every_provider_s_answer_is_one_of_openai_s(form):
    wanted = [list(vector) for vector in VECTORS] if form == "float" else [pack_vector(vector) for vector in VECTORS]
    cohere = {"float": VECTORS} if form == "float" else {"base64": [pack_vector(vector) for vector in VECTORS]}
    for shape, answer in {
        "cohere": {"id": "c", "embeddings": cohere, "texts": ["a", "b"], "meta": {"billed_units": {"input_tokens": 5}}},
        "gemini": {"embeddings": [{"values": vector} for vector in VECTORS], "usageMetadata": {"promptTokenCount": 5}},
    }.items():
        body, usage = filter_answer(call_of({**TWO, "encoding_format": form}, shape), answer)
        assert json.loads(body) == {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(wanted)],
            "model": "m",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        }, shape
        assert usage == Usage(input=5), shape


def test_a_cohere_client_is_answered_in_its_version():
    """As cohere 7.3 reads it, by ``response_type``."""
    texts = {"texts": ["a", "b"]}
    for client, more, wanted, kind in (
        ("cohere_v1", {}, [list(vector) for vector in VECTORS], "embeddings_floats"),
        ("cohere_v1", {"embedding_types": ["float"]}, {"float": [list(v) for v in VECTORS]}, "embeddings_by_type"),
        ("cohere_v2", {}, {"float": [list(vector) for vector in VECTORS]}, "embeddings_by_type"),
        (
            "cohere_v2", {"embedding_types": ["float", "base64"]},
            {"float": [singles(v) for v in VECTORS], "base64": [pack_vector(v) for v in VECTORS]}, "embeddings_by_type",
        ),
    ):  # fmt: skip
        made = call_of({**texts, **more}, client=client)
        came = [pack_vector(vector) for vector in VECTORS] if "base64" in str(more) else VECTORS
        answer = json.loads(filter_answer(made, answer_of(*came))[0])
        assert answer.pop("id")
        assert answer == {
            "embeddings": wanted,
            "texts": ["a", "b"],
            "meta": {"api_version": {"version": client[-1]}, "billed_units": {"input_tokens": 5}},
            "response_type": kind,
        }, (client, more)
    ours = {"id": "c", "embeddings": {"float": VECTORS}, "meta": {"billed_units": {"input_tokens": 5}}}
    older = json.loads(filter_answer(call_of(texts, "cohere", client="cohere_v1"), ours)[0])
    assert older["embeddings"] == [list(vector) for vector in VECTORS]
    raw = json.dumps(ours).encode()
    assert filter_answer(call_of(texts, "cohere", client="cohere_v2"), raw) == (raw, Usage(input=5))
    int8 = call_of({**texts, "embedding_types": ["int8"]}, "voyage", client="cohere_v2")
    assert json.loads(filter_answer(int8, answer_of([1], [2]))[0])["embeddings"] == {"int8": [[1], [2]]}


def test_a_gemini_client_is_answered_by_its_method():
    """As google-genai 3.4 reads it."""
    one = {"content": {"parts": [{"text": "a"}]}}
    batch = json.loads(filter_answer(call_of({"requests": [one, one]}, client="gemini_batch"), answer_of(*VECTORS))[0])
    assert batch == {
        "embeddings": [{"values": list(vector)} for vector in VECTORS],
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    assert json.loads(filter_answer(call_of(one, client="gemini_one"), answer_of(VECTORS[0]))[0])["embedding"] == {
        "values": list(VECTORS[0])
    }
    raw = json.dumps({"embedding": {"values": VECTORS[0]}}).encode()
    assert filter_answer(call_of(one, "gemini", client="gemini_one"), raw) == (raw, Usage(input=6))
    assert "0 vectors for 1 inputs" in refusal(call_of(one, "gemini", client="gemini_one"), {"embeddings": []})


def test_the_answers_to_the_pieces_of_a_list_are_one_answer():
    texts = [f"t{i}" for i in range(5)]
    traits = EmbeddingTraits(inputs=2)
    pieces = ([[0], [1]], [[2], [3]], [[4]])
    in_shape = {
        "openai": [answer_of(*piece) for piece in pieces],
        "cohere": [{"embeddings": {"float": piece}, "meta": {"billed_units": {"input_tokens": 5}}} for piece in pieces],
        "gemini": [{"embeddings": [{"values": v} for v in piece], "usageMetadata": {"promptTokenCount": 5}}
                   for piece in pieces],
    }  # fmt: skip
    in_shape["openai"][0]["data"].reverse()
    for shape, answers in in_shape.items():
        made = call_of({"input": texts}, shape, traits=traits)
        body, usage = join_answers(made, answers)
        found = json.loads(body)
        assert [(item["index"], item["embedding"]) for item in found["data"]] == [(i, [i]) for i in range(5)], shape
        assert found["usage"] == {"prompt_tokens": 15, "total_tokens": 15}, shape
        assert usage == Usage(input=15), shape
        with pytest.raises(GatewayError, match=r"2 vectors for 1 inputs|has 1"):
            join_answers(made, answers[::-1])
    uncounted = [answer_of(*piece, usage=None) for piece in pieces]
    made = call_of({"input": texts}, traits=traits)
    assert join_answers(made, uncounted)[1].estimated
    cohere = call_of({"texts": texts}, "cohere", "cohere_v2", traits)
    joined = json.loads(join_answers(cohere, in_shape["cohere"])[0])
    assert (joined["texts"], joined["embeddings"]) == (texts, {"float": [[0], [1], [2], [3], [4]]})


def test_only_the_required_vectors_of_earlier_answers_stay_in_memory():
    """Google writes a number to a line, of 24 bytes: a vector of 3,072 of them takes 16 KB in base64."""
    made = call_of({"input": ["x"] * 20, **BASE64}, "gemini", traits=EmbeddingTraits(inputs=2))
    answer = json.dumps({"embeddings": [{"values": [0.0123456789] * 3072}] * 2}, indent=2).encode()
    reading = EmbeddingAnswerConverter(made.answer)
    for number, _ in enumerate(made.bodies):
        if number:
            reading.end_part()
        reading.begin()
        assert reading.take(answer) == b""
        assert reading.buffered_bytes < len(answer) + 20 * 16_400
    assert len(json.loads(reading.close())["data"]) == 20


# Long answers


def long_answer(count: int, vector: Any, usage: str = "last") -> bytes:
    answer = answer_of(*[vector] * count)
    if usage == "first":
        answer = {"usage": answer.pop("usage"), **answer}
    return json.dumps(answer).encode()


def test_an_embedding_has_no_output_regardless_of_its_total():
    for told, tokens in (
        ({"prompt_tokens": 5, "total_tokens": 9}, 5),
        ({"prompt_tokens": 5, "completion_tokens": 3}, 5),
        ({"total_tokens": 9}, 9),
    ):
        data = json.dumps({**answer_of([0.5]), "usage": told}).encode()
        assert filter_answer(call_of({"input": ["x"]}), data, 997)[1] == Usage(input=tokens), told


@pytest.mark.parametrize("usage", [pytest.param("first", marks=pytest.mark.soak), "last"])
@pytest.mark.parametrize(
    "vector",
    [
        pytest.param([0.123456789] * 100, id="floats"),
        pytest.param(pack_vector([0.5] * 300), id="base64", marks=pytest.mark.soak),
    ],
)
def test_a_long_answer_passes_and_is_counted_on_its_way(vector, usage):
    """BerriAI/litellm#32386 held 48 MB of it. It is cut here at places of every kind."""
    body = {"input": ["x"] * 1500, **({} if isinstance(vector, list) else BASE64)}
    data = long_answer(1500, vector, usage)
    assert len(data) > 1.5 * MAX_BUFFERED
    for piece in (997, 65536):
        assert filter_answer(call_of(body), data, piece) == (data, Usage(input=5)), piece
    for count, told in ((1499, "1499 vectors for 1500"), (1501, "1501 vectors for 1500")):
        assert told in refusal(call_of(body), long_answer(count, vector))
    assert "in the middle" in refusal(call_of(body), long_answer(1500, vector)[:-3])


def test_buffered_bytes_stay_within_the_limit():
    reading = EmbeddingAnswerConverter(call_of({"input": ["x"] * 1500}).answer)
    data, behind = long_answer(1500, [0.123456789] * 100), 0
    for at in range(0, len(data), 4096):
        behind += 4096 - len(reading.take(data[at : at + 4096]))
        assert behind <= MAX_BUFFERED + 4096


def test_a_long_answer_in_an_unrequested_form_is_read_whole():
    data = long_answer(1500, [0.5] * 200)
    body, usage = filter_answer(call_of({"input": ["x"] * 1500, **BASE64}), data, 65536)
    assert {item["embedding"] for item in json.loads(body)["data"]} == {pack_vector([0.5] * 200)}
    assert usage == Usage(input=5)


@each_row("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "9"}, {"prompt_tokens": 0}])
def test_usage_without_a_count_is_estimated(usage):
    made = call_of({"input": ["one", "two"]})
    data = [{"index": index, "embedding": [0.5]} for index in range(2)]
    found = [filter_answer(made, {"data": data, "usage": one})[1] for one in (usage, {**(usage or {}), "cost": 0.5})]
    assert [one and one.estimated for one in found] == [True, True]
    assert found == [made.answer.estimate] * 2
    assert [one and one.reported_nanos for one in found] == [None, 5 * 10**8]
