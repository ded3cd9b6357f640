"""The checks of a batch's many requests delay no stream (CWE-400)."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.hostile_bodies import HostileAnswer
from tests.support.loop_steps import check_steps
from tests.support.set_answer import SetAnswer, set_answer_provider

STEPS: Final = [{"use": "pii", "action": "mask"}, {"use": "secrets"}]
SIGNING_KEY: Final = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
HI: Final = [{"role": "user", "content": "hi"}]
FILE: Final = {"id": "file-a", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch"}
BATCH: Final = {"id": "msgbatch_a", "type": "message_batch", "processing_status": "in_progress"}


def line(at: int) -> bytes:
    request_body = {"model": "chat", "messages": HI}
    return json.dumps(
        {"custom_id": f"c{at}", "method": "POST", "url": "/v1/chat/completions", "body": request_body}
    ).encode()


def upload(data: bytes) -> tuple[str, bytes, str]:
    head = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
    head += b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    return "/v1/files", head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def batch_of_many_requests() -> tuple[str, bytes, str]:
    listed = [
        {"custom_id": f"c{at}", "params": {"model": "messages", "max_tokens": 9, "messages": HI}} for at in range(5_000)
    ]
    return "/v1/messages/batches", json.dumps({"requests": listed}).encode(), "application/json"


def file_of_many_lines() -> tuple[str, bytes, str]:
    return upload(b"\n".join(map(line, range(5_000))))


def file_of_blank_lines() -> tuple[str, bytes, str]:
    return upload(line(0) + b"\n" * 1_000_000)


@pytest.fixture(scope="module")
def gateway():
    with set_answer_provider() as url:
        entries = [
            provider("openai/chat", f"{url}/v1", ["chat"], name="chat"),
            provider("anthropic/messages", url, ["messages"], name="messages"),
        ]
        with gateway_thread(config(entries, steps=STEPS, signing_key=SIGNING_KEY)) as served:
            yield served


@pytest.mark.sample(3, by="place")
@pytest.mark.slow
@pytest.mark.parametrize("make", [batch_of_many_requests, file_of_many_lines, file_of_blank_lines])
def test_no_batch_blocks_the_loop(gateway: Any, make: Callable[[], tuple[str, bytes, str]]) -> None:
    path, body, kind = make()
    SetAnswer.answer = HostileAnswer(json.dumps(FILE if path == "/v1/files" else BATCH).encode())

    def send() -> None:
        reply = gateway.request("POST", path, body, {"content-type": kind})
        assert reply.status == 200, reply.body[:300]

    check_steps(gateway, send)
