"""No line of the log quotes a prompt above ``log_level: debug``, whatever a provider's error repeats of it.

Pydantic's ``input_value``: https://docs.pydantic.dev/latest/errors/errors/. The client still reads the whole message.
"""

import json
import logging
from typing import Any

import httpx2
import pytest

from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.logs.loggers import EXCHANGES
from gateway.logs.masking import without_quotations
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import ErrorInfo
from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.every_api import VENDORS
from tests.support.features import needs_feature
from tests.support.in_process import InProcess, gateway
from tests.support.relayed_requests import ASKED, body_of
from tests.support.settled import lines
from tests.support.upstreams import converse_frame
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, websocket_server
from tests.support.wire_clients import ALL, path_of
from tests.support.wire_clients import body_of as request_of

SECRETS = ("patient", "Roe", "Jane", "sig=", "hiv")
PROMPT = "my patient Jane Roe has HIV"
QUOTING = (
    f"Prompt rejected by policy: {PROMPT}",
    f"Prompt rejected by policy: {PROMPT[:-5]}…",
    f"Prompt rejected by policy: {PROMPT.upper()}",
    f"Unable to download https://files.example/scan.png?sig=Roe&patient={PROMPT}",
    f"1 validation error [type=string_type, input_value='{PROMPT[:12]}...{PROMPT[-8:]}', input_type=str]",
    f"could not read {json.dumps({'role': 'user', 'content': PROMPT})}",
    "bad content: Roe",
)


def in_chat_words(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": "bad_prompt", "param": PROMPT}}


ERRORS = {
    "chat": in_chat_words,
    "responses": in_chat_words,
    "messages": lambda text: {"type": "error", "error": {"type": "invalid_request_error", "message": text}},
    "gemini": lambda text: {"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}},
    "converse": lambda text: {"message": text},
    "interactions": lambda text: {"error": {"code": "invalid_request", "message": text}},
}


def error_stream(api: str, message: str) -> ScriptedAnswer:
    """Return a stream of ``api`` that is an error from its first event on."""
    if api == "converse":
        frame = converse_frame("validationException", {"message": message}, "exception")
        return ScriptedAnswer((frame,), headers=(("content-type", "application/vnd.amazon.eventstream"),))
    name = dict.fromkeys(("messages", "responses", "interactions"), b"event: error\n").get(api, b"")
    error = ERRORS[api](message)
    if api == "responses":
        error = {**error["error"], "type": "error"}
    if api == "interactions":
        error = {**error, "event_type": "error"}
    return events(name + b"data: " + json.dumps(error).encode() + b"\n\n")


def calling_http(served: InProcess) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=served.url, timeout=30, verify=False, trust_env=False)


def no_secret_in(*texts: str) -> None:
    for text in texts:
        assert not [word for word in SECRETS if word.lower() in text.lower()], text


FORMS = ("whole", "stream", "broken_stream")
PARTS = 3


@pytest.mark.parametrize(
    ("api", "form", "part"),
    [(api, form, (at + place) % PARTS) for at, api in enumerate(ALL) for place, form in enumerate(FORMS)],
)
async def test_no_log_line_has_the_prompt_that_a_provider_quotes(api, form, part, caplog):
    """``broken_stream``: the provider sends status 200, and the error is the first event."""
    caplog.set_level(logging.INFO)
    quoted = ""

    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        own = next(one for one in ALL if asked.path.startswith(f"/{one}/"))
        return error_stream(own, quoted) if form == "broken_stream" else json_answer(ERRORS[own](quoted), 400)

    async with endpoint_provider(answer) as provider:
        entries = [
            {"model": f"{VENDORS[one]}/up-{one}", "name": f"m-{one}", "access_key": "k", "speaks": [one],
             "base_url": f"{provider.url}/{one}/v1"}
            for one in ALL
        ]  # fmt: skip
        async with gateway(settings(*entries)) as served, calling_http(served) as client:
            for own in ALL:
                stream = form != "whole"
                path = path_of(api, f"m-{own}", stream=stream)
                body = request_of(api, f"m-{own}", PROMPT, stream=stream)
                for quoted in QUOTING[part::PARTS]:
                    with case(f"{own}: {quoted}"), lines(served) as found:
                        response = await client.post(path, json=body)
                        assert response.status_code in (400, 502), response.text
                        assert any(word.lower() in response.text.lower() for word in SECRETS)
                        await eventually(lambda: found)
                        no_secret_in(json.dumps(list(found)))
                        assert "the provider sent" in found[0]["message"]
    no_secret_in(caplog.text)


async def test_no_log_line_has_the_input_of_another_endpoint(caplog):
    caplog.set_level(logging.INFO)
    answer = json_answer(in_chat_words(QUOTING[0]), 400)
    async with before(lambda asked: answer, "trigate/m-1") as (served, _), calling_http(served) as client:
        for endpoint, path in ASKED:
            headers, body = body_of(endpoint, "trigate/m-1")
            with case(path), lines(served) as found:
                response = await client.post(path, content=body, headers=headers)
                assert response.status_code == 400
                await eventually(lambda: found)
                no_secret_in(json.dumps(list(found)))
    no_secret_in(caplog.text)


@needs_feature("realtime")
async def test_no_log_line_contains_text_of_a_realtime_session(caplog):
    caplog.set_level(logging.INFO)

    async def refuse(peer: Peer) -> None:
        await peer.accept()
        while await peer.receive() is not None:
            await peer.send({"type": "error", "error": in_chat_words(QUOTING[0])["error"]})

    async with websocket_server(refuse) as server:
        entry = {"model": "openai/gpt-realtime", "name": "voice", "access_key": "k", "base_url": f"{server.url}/v1"}
        async with gateway(settings(entry)) as served, calling(served.url, "/v1/realtime?model=voice") as caller:
            with lines(served) as found:
                await caller.send(json.dumps({"type": "response.create"}))
                assert "Roe" in (await caller.event())["error"]["message"]
                await eventually(lambda: found)
            no_secret_in(json.dumps(list(found)))
            assert "bad_prompt" in found[0]["message"]
            await caller.close()
    no_secret_in(caplog.text)


def line_of(failed: ErrorInfo, attempts: int = 1) -> str:
    record = Record("req_1", "chat", attempts=attempts, error=failed)
    return str(Ledger().line(record, disconnected=False)["message"])


def test_the_log_still_has_the_reason():
    body = json.dumps({"error": {"message": "no", "type": "invalid_request_error", "code": "unsupported_value",
                                 "param": "messages[3].content"}}).encode()  # fmt: skip
    assert line_of(CODECS["chat"].read_error(400, body, ())) == (
        "the provider sent status 400: unsupported_value, invalid_request_error, param messages[3].content "
        "(its message is logged at log_level: debug)"
    )
    headers = (("x-amzn-errortype", "ValidationException:http://internal.amazon.com/"),)
    assert "status 400: ValidationException" in line_of(CODECS["converse"].read_error(400, b'{"message":"x"}', headers))
    long = b'{"error":{"message":"prompt is too long: 212000 tokens > 200000 maximum","type":"invalid_request_error"}}'
    assert line_of(CODECS["messages"].read_error(400, long, ())).endswith("; tokens: input 212000, limit 200000")
    assert "without a readable error" in line_of(CODECS["chat"].read_error(502, b"<html>", ()))


def test_the_whole_message_is_logged_at_debug(caplog):
    caplog.set_level(logging.DEBUG, EXCHANGES)
    body = json.dumps(in_chat_words(QUOTING[0])).encode()
    assert line_of(CODECS["chat"].read_error(400, body, ())) == QUOTING[0]


@pytest.mark.parametrize("mark", ["'{}'", '"{}"', "\u201c{}\u201d"])
def test_a_refusal_of_ours_keeps_a_quoted_sentence_out_of_the_log(mark):
    with pytest.raises(GatewayError) as refused:
        raise GatewayError("invalid_request", f"messages[0].role must be user, not {mark.format(PROMPT)}")
    no_secret_in(line_of(refused.value.info, attempts=0))
    assert without_quotations("messages[0].role must be user, not 'usr'").endswith("'usr'")
