"""Steps on batches: the lines of files at their upload, requests in the body, and results at their download."""

import functools
import json
from typing import Any, Final

from gateway.stores.memory import MemoryStore
from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import needs_feature
from tests.support.in_process import gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.settled_lines import SettledLines
from tests.support.word_gateway import gateway_with_steps, step

pytestmark = needs_feature("files")

PROMPT: Final = "about falcon-12 now"
ANSWER: Final = "it is falcon-77 today"
BATCH: Final = {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1",
                "completion_window": "24h", "status": "in_progress", "created_at": 1,
                "request_counts": {"total": 1, "completed": 0, "failed": 0}}  # fmt: skip
FILE: Final = {"id": "file-1", "object": "file", "bytes": 9, "created_at": 1, "filename": "a", "purpose": "batch"}
MESSAGE_BATCH: Final = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress",
                        "request_counts": {}, "results_url": None}  # fmt: skip


def request_line(id: str, text: str, url: str = "/v1/chat/completions") -> bytes:
    bodies = {
        "/v1/chat/completions": {"model": "m-1", "messages": [{"role": "user", "content": text}]},
        "/v1/responses": {"model": "m-1", "input": text},
        "/v1/embeddings": {"model": "m-1", "input": text},
        "/v1/completions": {"model": "m-1", "prompt": text},
    }
    body = bodies.get(url) or bodies[f"/v1{url}"]
    return json.dumps({"custom_id": id, "method": "POST", "url": url, "body": body}).encode() + b"\n"


AZURES: Final = "/chat/completions"
"""The path in the lines of Azure's batches (https://learn.microsoft.com/en-us/azure/ai-services/openai/how-to/batch)."""

URLS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions", AZURES)


def result_line(id: str, text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "model": "m-1", "choices": [choice]}
    value = {"id": f"b-{id}", "custom_id": id, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(value).encode() + b"\n"


def message_line(id: str, text: str) -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
               "content": [{"type": "text", "text": text}], "usage": usage}  # fmt: skip
    return json.dumps({"custom_id": id, "result": {"type": "succeeded", "message": message}}).encode() + b"\n"


RESULTS: Final = result_line("a", "fine") + result_line("b", ANSWER) + result_line("c", "fine too")
MESSAGES: Final = message_line("a", "fine") + message_line("b", ANSWER)


def answer_kept(asked: ReceivedRequest) -> ScriptedAnswer:
    path = asked.path.partition("?")[0]
    if path.endswith("/content"):
        pieces = RESULTS[:70], RESULTS[70:]
        return ScriptedAnswer(pieces, headers=(("content-type", "application/jsonl"),), length=True)
    if path.endswith("/results"):
        return ScriptedAnswer((MESSAGES,), headers=(("content-type", "application/x-jsonl"),), length=True)
    if "/messages/batches" in path:
        return json_answer(MESSAGE_BATCH)
    return json_answer(BATCH if "/batches" in path else FILE)


with_steps = functools.partial(gateway_with_steps, answer_kept)


async def upload(served: Any, content: bytes, purpose: bytes = b"batch", **more: Any) -> Any:
    form = multipart([part("purpose", purpose), part("file", content, "b.jsonl")])
    return await served.post("/v1/files", content=form, headers={"content-type": KIND, **more})


@each_row("url", URLS)
async def test_a_mask_is_written_into_the_line(url):
    content = request_line("a", "fine", url) + request_line("b", PROMPT, url).rstrip()
    async with with_steps(step(action="mask")) as (served, provider):
        found = await upload(served, content)
        assert found.status_code == 200, found.text
        body = provider.asked[0].body
        assert b"falcon" not in body
        assert request_line("a", "fine", url) in body
        masked = body.partition(b"[WORD_")[2].partition(b"]")[0].decode()
        assert request_line("b", f"about [WORD_{masked}] now", url).rstrip() in body
        assert found.headers["x-trigate-steps"] == "words=masked"
        checked = [one.text for check in word_steps.seen for one in check.passages]
        assert checked == ["fine", PROMPT]


ODD: Final = (b"1e999", b"9" * 5000, b'"\xff"', b'"\\ud83d"', b"[" * 900 + b"]" * 900)
"""Values that some decoders refuse. Numbers have no limit in JSON: RFC 8259, section 6."""


@each_row("value", ODD)
async def test_no_value_next_to_a_text_hides_the_text_from_a_step(value):
    line = request_line("b", PROMPT).replace(b'"model": "m-1"', b'"model": "m-1", "seed": ' + value)
    inline = b'{"requests": [{"custom_id": "b", "params": {"model": "m-1", "max_tokens": 9, "seed": %b, "messages": '
    inline += b'[{"role": "user", "content": "about falcon-12 now"}]}}]}'
    for more in ({"action": "mask"}, {}):
        async with with_steps(step(**more)) as (served, provider):
            await upload(served, line)
            assert all(b"falcon" not in asked.body for asked in provider.asked)
        async with with_steps(step(**more), model="anthropic/m-1") as (served, provider):
            headers = {"content-type": "application/json"}
            await served.post("/v1/messages/batches", content=inline % value, headers=headers)
            assert all(b"falcon" not in asked.body for asked in provider.asked)


@each_row("url", URLS)
async def test_a_refused_line_is_a_400_with_its_number(url):
    content = request_line("a", "fine", url) + b"\n" + request_line("b", PROMPT, url)
    for moment in ("request", "during"):
        async with with_steps(step(at=[moment])) as (served, provider):
            lines = SettledLines(served)
            found = await upload(served, content)
            error = found.json()["error"]
            assert (found.status_code, error["code"]) == (400, "content_filter")
            assert error["message"].startswith("line 2 of the file: the step words refused")
            assert found.headers["x-trigate-refused-by"] == "words"
            assert not provider.asked
            assert (await lines.next())[0]["refused_by"] == "words"


async def test_lines_are_checked_by_the_steps_of_their_api_and_model():
    for scope, refused in (
        ({"endpoints": ["chat"]}, True), ({"endpoints": ["messages"]}, False), ({"endpoints": ["embeddings"]}, False),
        ({"models": ["m-*"]}, True), ({"models": ["!m-1"]}, False),
    ):  # fmt: skip
        async with with_steps(step(**{"for": scope})) as (served, _):
            for content in (request_line("b", PROMPT), request_line("b", PROMPT, AZURES)):
                found = await upload(served, content)
                assert (found.status_code == 400) == refused, (scope, found.text)


async def test_other_files_are_closed_before_anything_is_sent():
    async with with_steps(step()) as (served, provider):
        for found in (
            await upload(served, b"falcon", b"user_data"),
            await upload(served, b"falcon", b"assistants"),
            await served.get("/v1/files"),
            await served.get("/v1/files/file-1"),
            await served.post("/v1/uploads", json={"purpose": "batch", "filename": "x", "bytes": 1, "mime_type": "x"}),
        ):
            assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_endpoint"), found.text
        assert not provider.asked
    for more in ({"unchecked": "pass"}, {"action": "report"}, {"for": {"endpoints": ["chat"]}}):
        async with with_steps(step(**more)) as (served, provider):
            assert (await upload(served, b"falcon", b"user_data")).status_code == 200
            assert len(provider.asked) == 1


async def create_batch(served: Any, **more: Any) -> Any:
    body = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return await served.post("/v1/batches", json=body)


async def test_a_batch_needs_a_file_that_the_steps_have_checked():
    async with with_steps(step(name="first")) as (served, provider):
        found = await create_batch(served, input_file_id="file-unknown")
        assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_content")
        assert not provider.asked
        assert (await upload(served, request_line("a", "fine"))).status_code == 200
        assert (await create_batch(served)).status_code == 200
        assert (await served.get("/v1/batches/batch_1")).status_code == 200
    for more in ({"unchecked": "pass"}, {"action": "report"}, {"at": ["response"]}):
        async with with_steps(step(name="other", **more)) as (served, _):
            assert (await create_batch(served)).status_code == 200, more


@each_row("action", ("mask", "refuse"))
async def test_the_body_of_a_request_about_a_batch_is_checked(action):
    async with with_steps(step(action=action)) as (served, provider):
        assert (await upload(served, request_line("a", "fine"))).status_code == 200
        assert (await create_batch(served)).status_code == 200
        found = await served.post("/v1/batches/batch_1/cancel", json={"note": PROMPT})
        assert found.status_code == (200 if action == "mask" else 400)
        assert all(b"falcon" not in asked.body for asked in provider.asked)
        assert (await served.post("/v1/batches/batch_1/cancel")).status_code == 200


async def test_a_batch_uses_a_checked_file_by_the_id_of_its_owner():
    keys = [{"name": name, "key": f"key-of-{name}-0123456789"} for name in ("ann", "bob")]
    async with endpoint_provider(answer_kept) as provider:
        own = {"model": "openai/m-1", "access_key": "k", "base_url": f"{provider.url}/v1"}
        content = settings(own, steps=[step(action="mask")], client_keys=keys)
        async with gateway(content, store=MemoryStore(60, 2**20)) as served:
            headers = {"authorization": "Bearer key-of-ann-0123456789"}
            file = (await upload(served, request_line("a", PROMPT), **headers)).json()["id"]
            assert file != "file-1"
            body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            made = await served.post("/v1/batches", json=body, headers=headers)
            assert made.status_code == 200, made.text
            assert provider.asked[-1].json["input_file_id"] == "file-1"
            other = {"authorization": "Bearer key-of-bob-0123456789"}
            assert (await served.post("/v1/batches", json=body, headers=other)).status_code in (403, 404)
            assert b"falcon" not in b"".join(asked.body for asked in provider.asked)


async def test_other_clients_may_send_any_member_of_a_batch():
    async with with_steps(step(action="report")) as (served, provider):
        assert (await create_batch(served, vendor="x")).status_code == 200
        assert provider.asked[0].json["vendor"] == "x"


async def test_the_metadata_of_a_batch_is_checked():
    async with with_steps(step()) as (served, provider):
        await upload(served, request_line("a", "fine"))
        found = await create_batch(served, metadata={"x": PROMPT})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter")
        assert len(provider.asked) == 1


@each_row("action", ["mask", "refuse"])
async def test_results_are_masked_line_by_line_and_a_refused_one_becomes_an_error_line(action):
    async with with_steps(step(action=action, at=["response"])) as (served, _):
        lines = SettledLines(served)
        found = await served.get("/v1/files/file-1/content")
        assert found.status_code == 200, found.text
        first, second, third = found.content.splitlines(keepends=True)
        assert (first, third) == (result_line("a", "fine"), result_line("c", "fine too"))
        assert b"falcon" not in second
        result = json.loads(second)
        if action == "mask":
            assert result["response"]["body"]["choices"][0]["message"]["content"].startswith("it is [WORD_")
        else:
            assert (result["custom_id"], result["response"], result["error"]["code"]) == ("b", None, "content_filter")
        (line,) = await lines.next()
        assert line["steps"][0]["labels"] == {"word": 1}


async def test_a_file_without_lines_is_content_that_no_step_can_read():
    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        return ScriptedAnswer((b"%PDF falcon-1\n",), headers=(("content-type", "application/pdf"),))

    async with gateway_with_steps(answer, step(at=["response"])) as (served, _):
        found = await served.get("/v1/files/file-1/content")
        assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_content")
        assert b"PDF" not in found.content


ANTHROPIC: Final = {"anthropic-version": "2023-06-01"}


def message_batch(*texts: str) -> dict[str, Any]:
    return {"requests": [
        {"custom_id": f"r{at}", "params": {
            "model": "m-1", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}}
        for at, text in enumerate(texts)
    ]}  # fmt: skip


async def test_requests_of_a_message_batch_are_checked():
    async with with_steps(step(action="mask"), model="anthropic/m-1") as (served, provider):
        found = await served.post("/v1/messages/batches", json=message_batch("fine", PROMPT), headers=ANTHROPIC)
        assert found.status_code == 200, found.text
        texts = [one["params"]["messages"][0]["content"] for one in provider.asked[0].json["requests"]]
        assert texts[0] == "fine"
        assert texts[1].startswith("about [WORD_")
    async with with_steps(step(), model="anthropic/m-1") as (served, provider):
        found = await served.post("/v1/messages/batches", json=message_batch("fine", PROMPT), headers=ANTHROPIC)
        error = found.json()["error"]
        assert (found.status_code, error["code"]) == (400, "content_filter")
        assert error["message"].startswith("requests[1]: the step words refused")
        assert not provider.asked


async def test_results_of_a_message_batch_are_checked():
    async with with_steps(step(at=["response"]), model="anthropic/m-1") as (served, _):
        found = await served.get("/v1/messages/batches/msgbatch_1/results")
        assert found.status_code == 200, found.text
        first, second = found.content.splitlines(keepends=True)
        assert first == message_line("a", "fine")
        refused = json.loads(second)
        assert (refused["custom_id"], refused["result"]["type"]) == ("b", "errored")
        assert refused["result"]["error"]["error"]["code"] == "content_filter"


async def test_requests_of_a_mistral_batch_are_checked():
    requests = [{"custom_id": "a", "body": {"messages": [{"role": "user", "content": PROMPT}]}}]
    body = {"requests": requests, "model": "m-1", "endpoint": "/v1/chat/completions"}
    async with with_steps(step(**{"for": {"endpoints": ["chat"]}}), model="mistral/m-1") as (served, provider):
        found = await served.post("/v1/batches", json=body)
        assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter"), found.text
        assert found.json()["error"]["message"].startswith("requests[0]: ")
        assert not provider.asked
    async with with_steps(step(action="mask", at=["request"]), model="mistral/m-1") as (served, provider):
        found = await served.post("/v1/batches", json=body)
        assert found.status_code == 200, found.text
        assert b"falcon" not in provider.asked[0].body
        assert b"[WORD_" in provider.asked[0].body


@each_row("name, single", (("requests", True), (r"\u0072equests", False)))
async def test_requests_in_a_body_are_checked_in_each_spelling(name, single):
    one = json.dumps({"custom_id": "a", "body": {"messages": [{"role": "user", "content": PROMPT}]}})
    content = f'{{"{name}": {one if single else f"[{one}]"}, "model": "m-1", "endpoint": "/v1/chat/completions"}}'
    async with with_steps(step(action="mask", at=["request"]), model="mistral/m-1") as (served, provider):
        found = await served.post("/v1/batches", content=content, headers={"content-type": "application/json"})
        assert found.status_code == (400 if single else 200), found.text
        assert all(b"falcon" not in asked.body for asked in provider.asked)
