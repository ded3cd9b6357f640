"""Tests that each exchange has one log line, however it ends, and that no line has a secret."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.config_files.loading import from_mapping
from gateway.exchange.exchange import Exchange, Service
from gateway.exchange.service import ServiceSettings
from gateway.http.request_scope import RequestScope
from gateway.http.response import as_pieces
from gateway.ledger.bill import Bill
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.routing.router import Router
from gateway.serving.lifecycle import Lifecycle
from streams.events import ErrorInfo
from tests.support.apis import OLDER, VENDORS, question
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script, Tokens

PAIRS = [(client, api) for client in OLDER for api in OLDER]
KEY, CLIENT_KEY, HEADER_KEY = "sk-not-to-be-told", "sk-of-the-client", "tok-in-a-header"
ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, cache_read=5, output=9))


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [
        *(provider(f"{VENDORS[api]}/on-{api}", upstream.url, [api], key=f"{KEY}-{api}") for api in OLDER),
        provider("groq/own", upstream.url, ["chat"], headers={"x-auth-token": HEADER_KEY}, passthrough_auth=True),
    ]
    del entries[-1]["access_key"]
    with gateway_thread(config(entries, limits={"request_body": "1MiB"})) as process:
        yield process
        text = "\n".join(process.log)
        assert "Traceback" not in text, text[-3000:]
        for secret in (KEY, CLIENT_KEY, HEADER_KEY):
            assert secret not in text


numbers = iter(range(10_000))


@attrs.frozen
class Call:
    """One request with its own id, and its log line."""

    gateway: Gateway
    id: str = attrs.field(factory=lambda: f"call-{next(numbers)}")

    def ask(self, api: str, sent: Any, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gateway.request("POST", PATHS[api], sent, {"x-request-id": self.id, **named})

    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in list(self.gateway.log) if line.startswith("{")]
        return [line for line in found if line.get("request_id") == self.id]

    def line(self) -> Mapping[str, Any]:
        """Wait for the request's line and for a later request's line, and check that the request has only one."""
        eventually(self.lines, what="the line")
        behind = Call(self.gateway)
        behind.gateway.request("POST", "/v1/nothing", {}, {"x-request-id": behind.id})
        eventually(behind.lines, what="the next line")
        (line,) = self.lines()
        return line


@pytest.fixture
def call(gateway) -> Call:
    return Call(gateway)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("api", "model_api"), PAIRS)
def test_a_complete_answer_has_one_line(call, upstream, api, model_api, stream):
    upstream.script(ANSWER)
    usage = {"stream_options": {"include_usage": True}} if (api, stream) == ("chat", True) else {}
    assert call.ask(api, question(api, f"on-{model_api}", stream=stream, **usage)).status == 200
    line = call.line()
    vendor = VENDORS[model_api]
    expected = {
        "event": "exchange", "api": api, "model": f"on-{model_api}", "target": f"{vendor}/on-{model_api}",
        "lane": "byte" if api == model_api else "hub", "stream": stream, "status": 200, "ended": "complete",
        "reason": "stop", "input_tokens": 20, "cached_tokens": 5, "output_tokens": 9, "usage_complete": True,
        "attempts": 1,
    }  # fmt: skip
    assert {name: line.get(name) for name in expected} == expected
    assert 0 < line["first_byte_ms"] <= line["duration_ms"]
    assert "error" not in line


REFUSED: Mapping[str, tuple[Any, int, str]] = {
    "no_json": (b"{", 400, "invalid_request"),
    "unknown_model": (question("chat", "nobody"), 404, "not_found"),
    "no_messages": ({"model": "on-chat"}, 400, "invalid_request"),
    "too_large": (b" " * (2 * 2**20), 413, "too_large"),
}


@pytest.mark.parametrize(("sent", "status", "error"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("api", OLDER)
def test_requests_that_the_gateway_itself_refuses_are_logged(call, upstream, api, sent, status, error):
    if isinstance(sent, dict) and "messages" in sent:
        sent = question(api, "nobody")
    elif isinstance(sent, dict) and api == "responses":
        sent = {"model": "on-chat", "input": 5}
    assert call.ask(api, sent).status == status
    line = call.line()
    assert (line["api"], line["status"], line["ended"], line["error"]) == (api, status, "refused", error)
    assert line["message"]
    assert line["attempts"] == 0
    assert "output_tokens" not in line


def test_health_checks_leave_no_line(gateway):
    quiet = Call(gateway)
    for path in ("/healthz", "/readyz", "/", *rows_of("model_lists", "/v1/models")):
        assert gateway.request("GET", path, None, {"x-request-id": quiet.id}).status == 200
    behind = Call(gateway)
    behind.ask("chat", b"{")
    behind.line()
    assert quiet.lines() == []


# Secrets

ECHO = '{{"error":{{"message":"the key {key} is spent","type":"t","code":null,"details":{{"key":"{key}"}}}}}}'


@pytest.mark.parametrize("status", [401, 429])
@pytest.mark.parametrize("api", OLDER)
@pytest.mark.parametrize("secret", [CLIENT_KEY, HEADER_KEY])
def test_the_clients_own_key_and_configured_ones_stay_out_of_the_log(call, upstream, api, secret, status):
    upstream.script(Raw(status, JSON, (ECHO.format(key=secret).encode(),)))
    reply = call.ask(api, question(api, "own"), authorization=f"Bearer {CLIENT_KEY}")
    assert upstream.seen[0].header("authorization") == f"Bearer {CLIENT_KEY}"
    assert upstream.seen[0].header("x-auth-token") == HEADER_KEY
    assert reply.status == status
    assert "[redacted] is spent" in reply.json["error"]["message"]
    assert secret.encode() not in reply.body
    assert call.line()["message"].startswith("the provider sent ")


# The gateway's own errors


class Unsound:
    """An HTTP client with a defect: after a while, it raises an unexpected error."""

    async def send(self, request: Any) -> Any:
        await trio.sleep(0.05)
        raise RuntimeError("not even an UpstreamError")


@pytest.mark.parametrize("keep_alive", [15, 0.01], ids=["at_once", "after_the_opening"])
@pytest.mark.parametrize("api", OLDER)
async def test_an_internal_error_is_reported_and_ends_no_other_task(caplog, autojump_clock, api, keep_alive):
    settings = from_mapping(config([provider("openai/up", "http://127.0.0.1:1", [api])], 1))
    limits, authenticator = settings.limits, Authenticator(settings)
    admission = Admission(settings, authenticator, Shares())
    service = Service(
        Router(settings),
        Unsound(),  # type: ignore[arg-type]
        Lifecycle(),
        ServiceSettings(limits, keep_alive),
        authenticator,
        admission,
    )
    record = Record("req_1", api)
    async with trio.open_nursery() as nursery:
        exchange = Exchange(service, api, ClientRequest((), ""), RequestScope(nursery, "req_1"), record)
        response = await exchange.answer(json.dumps(question(api, "up", stream=True)).encode())
        async with as_pieces(response.body) as pieces:
            text = b"".join([data async for data in pieces])
        nursery.cancel_scope.cancel()
    assert response.status == (500 if keep_alive == 15 else 200)
    assert b"internal error of the gateway" in text
    assert Ledger().line(record, disconnected=False)["ended"] == "internal_error"
    assert "not even an UpstreamError" in caplog.text


# The line itself


def test_a_record_is_settled_once(caplog):
    ledger, record = Ledger(), Record("req_1", "chat")
    with caplog.at_level("INFO", "trigate"):
        ledger.settle(record, True)
        ledger.settle(record, False)
    assert len(caplog.records) == ledger.count == 1


@pytest.mark.parametrize(
    ("before", "ended"),
    [
        ({"bill": Bill(is_complete=True)}, "complete"),
        ({"abandoned": True}, "client_disconnected"),
        ({"error": ErrorInfo("upstream", "broke")}, "upstream_error"),
        ({"error": ErrorInfo("internal", "a mistake")}, "internal_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shutdown_does_not_replace_an_earlier_outcome(before, ended):
    record = Record("req_1", "chat", attempts=1, status=200, shut_down=True, **before)
    assert Ledger().line(record, disconnected=False)["ended"] == ended


def test_a_crashed_exchange_is_logged_as_the_gateways_error():
    record = Record("req_1", "chat", attempts=1)
    line = Ledger().line(record, disconnected=False)
    assert (line["ended"], line["status"]) == ("internal_error", 500)
