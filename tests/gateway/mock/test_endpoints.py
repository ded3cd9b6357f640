"""The stand-in provider's other endpoints than those for conversations: each answer in its maker's shape."""

import base64
import json
import struct
from typing import Any

import httpx2
import pytest

from gateway.mock.called import EndpointCall, UploadedFile, read_call
from gateway.mock.endpoint_answers import GET_ANSWERS, POST_ANSWERS, similarity_of, vector
from gateway.mock.faults import FAULTS, ScriptedAnswer
from gateway.mock.kept import MAX_OBJECTS, MockObjects
from gateway.mock.realtime import PATH, MockSession
from providers.endpoints.endpoint import ENDPOINTS
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.gateway_thread import mock_thread
from tests.support.no_tls import NO_TLS

SOUND = {"file": [UploadedFile("a.wav", b"\0" * 32_000)]}


def content(answer: ScriptedAnswer) -> bytes:
    return b"".join(piece.data for piece in answer.pieces)


def ask(path: str, files: Any = None, **members: Any) -> Any:
    answer = POST_ANSWERS[path](EndpointCall(members, files or {}, path=path))
    return json.loads(content(answer)) if answer.headers[0][1] == "application/json" else content(answer)


NOT_SIMULATED = {
    "passthrough", "mcp", "live", "realtime_translations", "search", "decisions", "content_provenance_checks", "score",
    "classify", "predict", "similarity", "classifications", "chat_classifications", "ocr", "uploads", "vector_stores",
    "containers", "videos", "fim", "voices", "message_batches",
}  # fmt: skip


def test_the_endpoints_that_the_page_does_not_exclude_are_served_at_one_of_their_paths():
    served = {*POST_ANSWERS, *GET_ANSWERS, PATH, "/v1/files", "/v1/batches"}
    assert {name for name, row in ENDPOINTS.items() if not served.intersection(row.paths)} == NOT_SIMULATED


@each_row("name", FAULTS)
def test_a_fault_changes_a_stream_of_any_length(name):
    """Some endpoints stream fewer pieces than a fault lets pass."""
    for path, members in (("/v1/completions", {"prompt": "hi"}), ("/v1/audio/speech", {"input": "hi"})):
        answer = POST_ANSWERS[path](EndpointCall({**members, "stream": True}, path=path))
        assert FAULTS[name].answer(answer, 3).headers, path


def test_a_search_finds_pages_about_the_query():
    found = json.loads(content(GET_ANSWERS["/search"](EndpointCall({}, query={"q": "trio"}))))
    assert [one["url"] for one in found["results"]] == ["https://news.example/1", "https://docs.example/2"]
    assert all("trio" in one["title"] and "trio" in one["content"] for one in found["results"])


def test_vectors_are_the_same_each_time_and_near_where_words_are_shared():
    assert vector("A cat") == vector("a CAT") != vector("dogs")
    assert abs(sum(value * value for value in vector("some words here")) - 1) < 1e-9
    assert similarity_of("food for a cat", "cat food") > 0.5 > similarity_of("cat food", "quantum physics")


def test_vectors_have_the_requested_length_and_encoding():
    plain = ask("/v1/embeddings", input=["a", "b"], dimensions=4)
    assert [one["index"] for one in plain["data"]] == [0, 1]
    (packed,) = ask("/v1/embeddings", input="a", dimensions=4, encoding_format="base64")["data"]
    assert struct.unpack("<4f", base64.b64decode(packed["embedding"])) == pytest.approx(plain["data"][0]["embedding"])
    assert len(ask("/v1/embeddings", input=[1, 2, 3])["data"]) == 1, "one input, as token ids"
    assert len(ask("/v1/embeddings", input=[[1], [2]])["data"]) == 2
    parts = {"content": {"parts": [{"text": "a"}]}}
    google = ask("/v1beta/models/{model}:batchEmbedContents", requests=[parts, parts])
    assert google["embeddings"] == [{"values": vector("a")}] * 2


def test_the_document_with_the_words_of_the_query_is_first():
    asked = {"query": "cat food", "documents": ["dogs", "food for cats and a cat", {"text": "quantum physics"}]}
    (best,) = ask("/v1/rerank", **asked, top_n=1, return_documents=True)["results"]
    assert (best["index"], best["document"]) == (1, {"text": "food for cats and a cat"})


def test_a_transcript_as_json_and_as_a_text():
    call = EndpointCall({"response_format": "text"}, SOUND, path="/v1/audio/transcriptions")
    assert content(POST_ANSWERS[call.path](call)).startswith(b"This")
    assert ask("/v1/audio/transcriptions", SOUND)["usage"] == {"type": "duration", "seconds": 2}
    with pytest.raises(GatewayError, match="file is required"):
        ask("/v1/audio/transcriptions")


def test_a_form_is_read_with_its_files():
    body = (
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n'
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a b.wav"\r\n\r\n\0\r\n--y\r\n--x--\r\n'
    )
    call = read_call(body, "multipart/form-data; boundary=x")
    assert (call.model, call.files["file"]) == ("m", [UploadedFile("a b.wav", b"\0\r\n--y")])
    for wrong, kind in (
        (b"[1]", "application/json"),
        (b"[1]", "multipart/form-data; boundary=x"),
        (body, "multipart/x"),
    ):
        with pytest.raises(GatewayError):
            read_call(wrong, kind)


def test_a_batch_reports_the_tokens_of_its_answers():
    """An offline test of costs adds them up (https://platform.openai.com/docs/api-reference/batch/object)."""
    usages = {
        "chat": {"prompt_tokens": 3, "completion_tokens": 5},
        "responses": {"input_tokens": 4, "output_tokens": 6},
    }
    shelf = MockObjects(lambda path, body: (200, {"usage": usages.get(path)}))
    lines = b"".join(b'{"custom_id":"a","url":"%b","body":{}}\n' % url for url in (b"chat", b"responses", b"none"))
    batch = create_batch(shelf, lines)
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    assert batch["usage"] == {"input_tokens": 7, "output_tokens": 11, "total_tokens": 18, **details}


def test_a_batch_is_answered_line_by_line():
    shelf = MockObjects(lambda path, body: (200, {"of": path, **body}))
    lines = b'{"custom_id":"a","url":"/v1/x","body":{"n":1}}\nno json\n'
    begun = create_batch(shelf, lines)
    assert (begun["status"], begun["output_file_id"], begun["error_file_id"]) == ("validating", None, None)
    done = show(shelf, begun["id"])
    (first,), (second,) = (lines_of(shelf, done[name]) for name in ("output_file_id", "error_file_id"))
    assert (first["custom_id"], first["response"]["body"]) == ("a", {"of": "/v1/x", "n": 1})
    assert second["response"]["status_code"] == 400
    assert done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}


def lines_of(shelf, id):
    """Return the decoded lines of the file ``id``."""
    return [
        json.loads(line) for line in content(shelf.content(EndpointCall({}, path_parameters={"id": id}))).splitlines()
    ]


@each_row(
    ("statuses", "files"),
    [([200, 200], (True, False)), ([400, 500], (False, True)), ([200, 429], (True, True)), ([], (False, False))],
)
def test_a_batch_has_a_file_for_results_and_one_for_errors(statuses, files):
    """As OpenAI's: ``failed`` counts the lines of the second."""
    shelf = MockObjects(lambda path, body: (body["status"], {}))
    lines = [{"custom_id": f"{i}", "url": "/x", "body": {"status": status}} for i, status in enumerate(statuses)]
    done = show(shelf, create_batch(shelf, "\n".join(map(json.dumps, lines)).encode())["id"])
    good, bad = (lines_of(shelf, done[name]) if done[name] else [] for name in ("output_file_id", "error_file_id"))
    assert (done["output_file_id"] is not None, done["error_file_id"] is not None) == files
    assert [one["response"]["status_code"] for one in good] == [status for status in statuses if status == 200]
    assert [one["response"]["status_code"] for one in bad] == [status for status in statuses if status != 200]
    assert done["request_counts"] == {"total": len(statuses), "completed": len(good), "failed": len(bad)}


def test_a_line_of_a_batch_that_is_no_request_fails_alone():
    asked = [
        ("/v1/chat/completions", {"model": "mock-small", "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/chat/completions", "ab"),
        ("/v1/embeddings", ["a"]),
        ("/v1/embeddings", {"input": "a", "dimensions": "many"}),
    ]
    lines = "\n".join(json.dumps({"custom_id": "a", "url": url, "body": body}) for url, body in asked)
    with mock_thread() as served, httpx2.Client(base_url=served.url, verify=NO_TLS) as client:
        file = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines)}).json()
        begun = client.post("/v1/batches", json={"input_file_id": file["id"], "endpoint": asked[0][0]}).json()
        done = client.get(f"/v1/batches/{begun['id']}").json()
        ids = done["output_file_id"], done["error_file_id"]
        files = [client.get(f"/v1/files/{id}/content").text.splitlines() for id in ids]
    assert [[json.loads(line)["response"]["status_code"] for line in lines] for lines in files] == [[200], [400] * 3]


def test_a_path_that_the_stand_in_does_not_have_is_named():
    with mock_thread() as served:
        found = httpx2.post(f"{served.url}/v1/score", json={"model": "m"}, verify=NO_TLS)
    assert found.status_code == 404
    assert "no path /v1/score: test it with the provider" in found.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/embeddings", "POST"),
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1beta/models/m:generateContent", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
    ],
)
def test_a_wrong_method_of_a_path_that_the_stand_in_has_is_a_405(method, path, allowed):
    with mock_thread() as served:
        found = httpx2.request(method, f"{served.url}{path}", verify=NO_TLS)
    assert (found.status_code, found.headers["allow"]) == (405, allowed)
    assert f"{method} is not allowed on {path}; use {allowed}" in found.json()["error"]["message"]


def show(shelf: MockObjects, id: str) -> Any:
    return body_of(shelf.show(EndpointCall({}, path_parameters={"id": id})))


def create_batch(shelf: MockObjects, lines: bytes) -> Any:
    """Upload ``lines``, and return the batch of them as it begins."""
    file = body_of(shelf.add_file(EndpointCall({"purpose": "batch"}, {"file": [UploadedFile("in.jsonl", lines)]})))
    return body_of(shelf.create_batch(EndpointCall({"input_file_id": file["id"], "endpoint": "/v1/x"})))


def test_the_stand_in_stores_a_limited_number_of_objects():
    shelf = MockObjects(lambda path, body: (200, {}))
    call = EndpointCall({"purpose": "batch"}, SOUND)
    ids = [body_of(shelf.add_file(call))["id"] for _ in range(MAX_OBJECTS + 1)]
    with pytest.raises(GatewayError, match="there is no object file-"):
        shelf.show(EndpointCall({}, path_parameters={"id": ids[0]}))
    assert len(body_of(shelf.page("file-", EndpointCall({})))["data"]) == MAX_OBJECTS
    body_of(shelf.remove(EndpointCall({}, path_parameters={"id": ids[-1]})))
    assert len(body_of(shelf.page("file-", EndpointCall({})))["data"]) == MAX_OBJECTS - 1


def body_of(answer: ScriptedAnswer) -> Any:
    return json.loads(content(answer))


def test_a_realtime_session_reports_usage_and_keeps_its_modalities():
    session = MockSession("m")
    assert json.loads(session.created_event())["session"]["model"] == "m"
    spoken = [json.loads(one) for one in session.take(b'{"type":"response.create"}')]
    assert {"response.output_audio.delta", "response.output_audio_transcript.delta"} < {one["type"] for one in spoken}
    assert spoken[-1]["response"]["usage"]["output_token_details"]["audio_tokens"] == 20
    (updated,) = session.take('{"type":"session.update","session":{"output_modalities":["text"]}}')
    assert json.loads(updated)["session"]["output_modalities"] == ["text"]
    assert [json.loads(one)["type"] for one in session.take("no json")] == ["error"]
