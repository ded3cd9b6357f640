"""Responses with status 200 that are no answers: the failures of a provider, of a proxy ahead of it, or of a wrong
``base_url``."""

import json
from typing import Any

import attrs
import httpx2
import pytest

from tests.support.each_row import each_row
from tests.support.endpoint_provider import ScriptedAnswer, endpoint_provider, settings
from tests.support.features import needs_feature
from tests.support.in_process import InProcess, gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.settled_lines import SettledLines

pytestmark = [needs_feature("other_endpoints"), needs_feature("files")]

MODEL = "openai/x"
LARGE = "A" * (2**20 + 2**19)


@attrs.frozen
class Hollow:
    """A request to ``path``, with a complete response of the type ``kind``."""

    path: str
    body: dict[str, Any]
    complete: Any
    kind: str = "application/json"
    is_form: bool = False
    may_be_empty: bool = False

    @property
    def content(self) -> bytes:
        return self.complete if isinstance(self.complete, bytes) else json.dumps(self.complete).encode()

    async def send(self, served: InProcess) -> Any:
        if not self.is_form:
            return await served.post(self.path, json=self.body)
        parts = [part(name, value.encode()) for name, value in self.body.items()]
        form = multipart([*parts, part("file", b"RIFF" + bytes(1000), "a.wav")])
        return await served.post(self.path, content=form, headers={"content-type": KIND})

    def failures(self) -> list[tuple[str, bytes]]:
        """Return the types and bodies of responses that are failures."""
        found = [
            *([] if self.may_be_empty else [(self.kind, b"")]),
            ("text/html", b"<!doctype html><title>Sign in</title>"),
            ("application/json", b'{"error": {"message": "boom", "type": "server_error"}}'),
            ("application/json", self.content[: len(self.content) // 2] if "json" in self.kind else b'{"a": "'),
        ]
        if "json" in self.kind:
            found.extend([(self.kind, b" \n"), (self.kind, b'"busy"'), (self.kind, b"3"), (self.kind, b"null"),
                          (self.kind, b"busy"), ("", b""), ("", b"busy"), ("text/plain", b"busy\nwait")])  # fmt: skip
            found.extend([] if self.path in LISTED else [(self.kind, b'["busy"]')])
        if self.kind.startswith("audio/"):
            found.extend([("text/plain", b"busy"), (self.kind, b""), ("application/json", b'"busy"')])
        if "-->" in str(self.complete) or "WEBVTT" in str(self.complete):
            found.append((self.kind, b"busy"))
        return found


LISTED = ("/v1/rerank", "/predict", "/similarity")
SPEECH = {"model": MODEL, "input": "x", "voice": "alloy"}
PICTURE = {"model": MODEL, "prompt": "x"}
SCORES = {"data": [{"index": 0, "score": 0.5}]}
RANKED = {"results": [{"index": 0, "relevance_score": 0.5}]}
CHOICES = {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}
COMPACTED = {"id": "resp_1", "object": "response.compaction", "output": [], "usage": None}
TEXT = {"model": MODEL, "input": "x"}
CASES = {
    "moderations": Hollow("/v1/moderations", TEXT, {"id": "m", "results": [{"flagged": False}]}),
    "embeddings": Hollow("/v1/embeddings", TEXT, {"data": [{"index": 0, "embedding": [0.5]}]}),
    "rerank": Hollow("/v1/rerank", {"model": "vllm/x", "query": "x", "documents": ["y"]}, RANKED),
    "rerank, translated": Hollow("/v1/rerank", {"model": "tei/x", "query": "x", "documents": ["y"]},
                                 [{"index": 0, "score": 0.5}]),
    "score": Hollow("/v1/score", {"model": "vllm/x", "text_1": "x", "text_2": "y"}, SCORES),
    "pooling": Hollow("/pooling", {"model": "vllm/x", "input": "x"}, {"data": []}),
    "classify": Hollow("/classify", {"model": "vllm/x", "input": "x"}, {"data": []}),
    "predict": Hollow("/predict", {"model": "tei/x", "inputs": "x"}, [{"label": "a", "score": 1}]),
    "similarity": Hollow("/similarity", {"model": "tei/x", "inputs": {"source_sentence": "x", "sentences": []}}, [0.5]),
    "ocr": Hollow("/v1/ocr", {"model": "mistral/x", "document": {}}, {"pages": []}),
    "completions": Hollow("/v1/completions", {"model": "vllm/x", "prompt": "x"}, CHOICES),
    "fim": Hollow("/v1/fim/completions", {"model": "mistral/x", "prompt": "x"},
                  {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}),
    "fim, translated": Hollow("/v1/completions", {"model": "mistral/x", "prompt": "x", "suffix": "y"},
                              {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}),
    "images": Hollow("/v1/images/generations", PICTURE, {"created": 1, "data": [{"b64_json": "AAAA"}]}),
    "image edits": Hollow("/v1/images/edits", PICTURE, {"created": 1, "data": [{"b64_json": "AAAA"}]}, is_form=True),
    "speech": Hollow("/v1/audio/speech", SPEECH, b"ID3\x04\xff\xfb", "audio/mpeg"),
    "transcriptions": Hollow("/v1/audio/transcriptions", {"model": MODEL}, {"text": ""}, is_form=True),
    "translations": Hollow("/v1/audio/translations", {"model": MODEL}, {"text": "x"}, is_form=True),
    "files": Hollow("/v1/files?provider=openai", {"purpose": "user_data"}, {"id": "file-1"}, is_form=True),
    "vector stores": Hollow("/v1/vector_stores?provider=openai", {"name": "x"}, {"id": "vs_1"}),
    "stored responses": Hollow("/v1/responses/resp_1/cancel", {}, {"id": "resp_1", "object": "response"}),
    **{
        f"transcriptions as {form}": Hollow("/v1/audio/transcriptions", {"model": MODEL, "response_format": form}, text,
                                            kind, is_form=True, may_be_empty=form != "vtt")
        for form, kind, text in (
            ("text", "text/plain", b""), ("srt", "text/plain", b"1\n00:00:00,000 --> 00:00:01,000\nHi.\n\n"),
            ("vtt", "text/vtt", b"WEBVTT\n\n"),
        )
    },
    "compaction": Hollow("/v1/responses/compact", {**TEXT, "input": [{"role": "user", "content": "x"}]}, COMPACTED),
}  # fmt: skip


def _answer(kind: str, body: bytes, *, length: bool = True) -> ScriptedAnswer:
    headers = (("content-type", kind),) if kind else ()
    return ScriptedAnswer((body,) if body else (), headers=headers, length=length)


@each_row("endpoint", CASES)
async def test_a_response_that_is_no_answer_is_the_failure_of_its_provider(endpoint):
    case, answers = CASES[endpoint], list[ScriptedAnswer]()
    async with endpoint_provider(lambda asked: answers[-1]) as provider:
        entries = [
            {"model": f"{name}/*", "base_url": f"{provider.url}/v1", "access_key": "k"}
            for name in ("openai", "vllm", "tei", "mistral", "anthropic")
        ]
        config = settings(*entries, retries={"attempts": 1})
        async with gateway(config) as served:
            lines = SettledLines(served)
            for kind, body in case.failures():
                answers.append(_answer(kind, body, length=bool(len(answers) % 2)))
                found = await case.send(served)
                (line,) = await lines.next(1)
                assert (found.status_code, line["ended"]) == (502, "upstream_error"), (kind, body, found.text)
                assert "<!doctype" not in found.text
            answers.append(_answer(case.kind, case.content))
            found = await case.send(served)
            (line,) = await lines.next(1)
            assert (found.status_code, line["ended"]) == (200, "complete"), found.text
            assert found.content or case.may_be_empty


@each_row(
    "method, path, status",
    [("POST", "/v1/responses/compact", 502), ("GET", "/v1/responses/resp_1", 502),
     ("POST", "/v1/responses/resp_1/cancel", 502), ("DELETE", "/v1/responses/resp_1", 204)],
)  # fmt: skip
async def test_only_a_deletion_is_complete_without_content(method, path, status):
    async with endpoint_provider(lambda asked: ScriptedAnswer((), 204, headers=())) as provider:
        entry = {"model": MODEL, "base_url": f"{provider.url}/v1", "access_key": "k"}
        async with gateway(settings(entry, retries={"attempts": 1})) as served:
            lines, body = SettledLines(served), CASES["compaction"].body if path.endswith("compact") else None
            found = await served.send(method, path, json=body)
            (line,) = await lines.next(1)
            assert (found.status_code, line["status"]) == (status, status), found.text


async def test_a_long_response_that_breaks_off_does_not_look_complete():
    """Its start has been sent, so the client gets fewer bytes than announced, or no end of the body."""
    whole = json.dumps({"created": 1, "data": [{"b64_json": LARGE}]}).encode()
    answers = [
        _answer("application/json", body, length=length) for body in (whole[:-9], whole) for length in (True, False)
    ]
    async with endpoint_provider(lambda asked: answers.pop(0)) as provider:
        entry = {"model": MODEL, "base_url": f"{provider.url}/v1", "access_key": "k"}
        async with gateway(settings(entry)) as served:
            lines = SettledLines(served)
            for _ in range(2):
                with pytest.raises(httpx2.RemoteProtocolError):
                    await CASES["images"].send(served)
                assert (await lines.next(1))[0]["ended"] == "upstream_error"
            for _ in range(2):
                assert (await CASES["images"].send(served)).content == whole
                assert (await lines.next(1))[0]["ended"] == "complete"


@each_row(
    "kind, body",
    [
        ("application/json", b'{"id": 1}\n{"id": 2}\n'), ("application/x-ndjson", b'{"id": 1}\n'),
        ("application/octet-stream", b"\x00\x01"), ("text/plain", b'data: {"id": 1}\n\n'),
        ("application/json", b"[" * 60 + b"]" * 60), ("application/json", b'{"x": [' + b"0," * 250_000 + b"0]}"),
        ("text/plain", b'{"id": "\\ud83d"}'),
    ],
)  # fmt: skip
async def test_other_forms_of_json_and_binary_vectors_pass(kind, body):
    async with endpoint_provider(lambda asked: _answer(kind, body)) as provider:
        entry = {"model": "tei/x", "base_url": provider.url, "access_key": "k"}
        async with gateway(settings(entry)) as served:
            assert (await CASES["predict"].send(served)).content == body


async def test_a_response_that_is_no_answer_leads_to_the_next_target():
    case = CASES["rerank"]

    def answer(asked: Any) -> ScriptedAnswer:
        return _answer("application/json", b"" if asked.path.startswith("/a/") else case.content)

    async with endpoint_provider(answer) as provider:
        entries = [
            {"name": name, "model": "vllm/x", "base_url": f"{provider.url}/{name}/v1", "access_key": "k"}
            for name in ("a", "b")
        ]
        config = settings(*entries, model_aliases={"both": {"targets": ["a", "b"]}})
        async with gateway(config) as served:
            found = await served.post(case.path, json={**case.body, "model": "both"})
            assert (found.status_code, found.json()) == (200, case.complete)
        assert [asked.path[1] for asked in provider.asked] == ["a", "b"]


@each_row("kind, content", [("application/json", b""), ("text/html", b"<!doctype html>"), ("application/json", b"3")])
async def test_a_count_that_is_no_count_is_replaced_by_an_estimate(kind, content):
    body = {"model": "anthropic/x", "messages": [{"role": "user", "content": "x"}]}
    async with endpoint_provider(lambda asked: _answer(kind, content)) as provider:
        entry = {"model": "anthropic/x", "base_url": f"{provider.url}/v1", "access_key": "k"}
        async with gateway(settings(entry)) as served:
            found = await served.post("/v1/messages/count_tokens", json=body)
            assert (found.status_code, found.headers.get("x-trigate-estimated")) == (200, "1")
            assert found.json()["input_tokens"] > 0
