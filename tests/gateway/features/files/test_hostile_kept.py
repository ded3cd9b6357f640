"""Attacks with files and batches by a key that may use only some models: none reaches a provider."""

import json
from typing import Any

import httpx2

from tests.support.cases import case
from tests.support.kept_clients import CLIENTS, with_gateway

LIMITED = [{**CLIENTS[0], "models": ["fast"]}, CLIENTS[1]]
ALIASES = {"fast": {"target": "openai/gpt-5"}}
CLAUDE = {"fast": {"target": "anthropic/claude-x"}}
URL = "/v1/chat/completions"


def line(body: str) -> bytes:
    return b'{"custom_id": "a", "method": "POST", "url": "%b", "body": %b}' % (URL.encode(), body.encode())


def form(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> dict[str, Any]:
    body = b"".join(b"--B\r\n%b\r\n\r\n%b\r\n" % (head.encode(), data) for head, data in parts) + end
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=B"}}


PURPOSE = 'content-disposition: form-data; name="purpose"'
FILE = 'content-disposition: form-data; name="file"; filename="b.jsonl"'
BIG = line('{"model": "gpt-5-pro", "messages": []}')


@with_gateway("openai", clients=LIMITED, model_aliases=ALIASES)
def test_no_line_of_a_batch_can_have_a_model_that_was_not_checked(served):
    """BerriAI/litellm#27015, #29114: duplicate members, and members with fallback models of a provider."""
    for body in (
        '{"model": "gpt-5-pro", "messages": [], "model": "fast"}',
        '{"model": "gpt-5-pro", "messages": [], "mod\\u0065l": "fast"}',
        '{"Model": "gpt-5-pro", "messages": [], "model": "fast"}',
        '{"model": "fast", "messages": [], "models": ["gpt-5-pro"]}',
        '{"model": "fast", "messages": [], "tools": [{"type": "image_generation", "model": "gpt-5-pro"}]}',
    ):
        with case(body):
            found = served.http("POST", "/v1/files", **form((PURPOSE, b"batch"), (FILE, line(body))))
            assert found.status_code in (400, 403), found.text
            assert "line 1" in found.json()["error"]["message"]
    assert served.providers["openai"].asked == []


@with_gateway("openai", clients=LIMITED, model_aliases=ALIASES)
def test_a_file_for_batches_cannot_pretend_another_purpose(served):
    for name, parts in {
        "twice": ((PURPOSE, b"user_data"), (PURPOSE, b"batch"), (FILE, BIG)),
        "twice, last behind the file": ((PURPOSE, b"user_data"), (FILE, BIG), (PURPOSE, b"batch")),
        "a file": ((PURPOSE + '; filename="x"', b"batch"), (FILE, BIG)),
        "encoded": ((PURPOSE + "\r\ncontent-transfer-encoding: quoted-printable", b"=62atch"), (FILE, BIG)),
        "two names": ((PURPOSE + '; name="x"', b"batch"), (FILE, BIG)),
        "another case": ((PURPOSE, b"Batch"), (FILE, BIG)),
        "of another's": ((PURPOSE, b"batch-api"), (FILE, BIG)),
    }.items():
        with case(name):
            found = served.http("POST", "/v1/files", **form(*parts))
            assert found.status_code in (400, 403, 404), found.text
    for purpose in ('"batch"', '"b\\u0061tch"', '"assistants", "purpose": "batch"'):
        with case(purpose):
            body = f'{{"purpose": {purpose}, "filename": "b.jsonl", "bytes": 9, "mime_type": "text/jsonl"}}'
            headers = {"content-type": "application/json"}
            found = served.http("POST", "/v1/uploads", content=body.encode(), headers=headers)
            assert found.status_code in (400, 403), found.text
    assert served.providers["openai"].asked == []


@with_gateway("openai", clients=LIMITED, model_aliases=ALIASES)
def test_an_unread_body_is_not_sent(served):
    """A provider may parse a body as JSON whatever its content type and encoding are."""

    def ask(path: str, body: bytes, kind: str, **headers: str) -> httpx2.Response:
        return served.http("POST", path, content=body, headers={"content-type": kind, **headers})

    batch = json.dumps({"input_file_id": "file-of-another", "endpoint": URL, "completion_window": "24h"})
    for path in ("/v1/batches", "/v1/vector_stores", "/v1/containers", "/v1/uploads"):
        for kind, body in (
            ("text/plain", batch.encode()),
            ("application/octet-stream", batch.encode()),
            ("application/json", batch.encode("utf-16-le")),
            ("application/json", batch.replace("{", '{"a": NaN, ', 1).encode()),
            ("application/json", b"[" + batch.encode() + b"]"),
        ):
            with case(f"{path} {kind} {body[:12]!r}"):
                assert ask(path, body, kind).status_code in (400, 415)
    assert served.providers["openai"].asked == []


@with_gateway("anthropic", clients=LIMITED, model_aliases=CLAUDE)
def test_no_request_of_an_anthropic_batch_can_have_a_model_that_was_not_checked(served):
    good = '{"custom_id": "a", "params": {"model": "fast", "max_tokens": 9, "messages": []}}'
    for name, body in {
        "model twice": good.replace('"model": "fast"', '"model": "claude-opus", "model": "fast"'),
        "params twice": good.replace('"params"', '"params": {"model": "claude-opus"}, "params"'),
        "fallbacks": good.replace('"messages"', '"fallbacks": [{"model": "claude-opus"}], "messages"'),
    }.items():
        for kind in ("application/json", "text/plain"):
            with case(f"{name} {kind}"):
                headers = {"content-type": kind, "anthropic-version": "2023-06-01"}
                content = f'{{"requests": [{body}]}}'.encode()
                found = served.http("POST", "/v1/messages/batches", content=content, headers=headers)
                assert found.status_code in (400, 403, 415), found.text
    twice = f'{{"requests": [{good.replace("fast", "claude-opus")}], "requests": [{good}]}}'.encode()
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    assert served.http("POST", "/v1/messages/batches", content=twice, headers=headers).status_code == 400
    assert served.providers["anthropic"].asked == []
