"""The error that clients and the routing get for a provider's failure."""

import json

import attrs
import pytest

from gateway.config_files.loading import from_mapping
from gateway.request.public_errors import public_error
from gateway.routing.router import Router
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.errors.failures import read_failure
from streams.errors import GatewayError
from streams.events import APIS, Api, ErrorInfo, FailureReason
from tests.support.each_row import each_row


def target(**members: object) -> Target:
    entry = {"model": "openai/m", "access_key": "k"} | members
    config = from_mapping({"version": "v0.3.0", "model_providers": [entry]})
    return Router(config).resolve("openai/m", "chat")


def publish(failed: ErrorInfo, api: str = "chat", **members: object) -> ErrorInfo:
    """Return the public error, which is the same if it is made public twice."""
    once = public_error(failed, api, target(**members), ())
    assert public_error(once, api, target(**members), ()) == once
    return once


@each_row("api", APIS)
@each_row(
    ("status", "error", "reason"),
    [
        (401, {"message": "m"}, "credential"),
        (403, {"message": "m"}, "credential"),
        (404, {"message": "m"}, "gone"),
        (408, {"message": "m"}, "timeout"),
        (429, {"message": "m", "code": "insufficient_quota"}, "quota"),
        (529, {"message": "m"}, "overloaded"),
        (400, {"message": "maximum context length is 5 tokens"}, "context_too_long"),
    ],
)
def test_the_public_error_keeps_the_reason_and_the_wait(api: str, status: int, error: object, reason: FailureReason):
    failed = read_failure(status, json.dumps({"error": error}).encode(), (("retry-after", "90"),))
    public = publish(failed, api)
    assert public.reason == reason
    assert public.wait == (None if reason == "context_too_long" else 90)


@each_row("api", APIS)
@pytest.mark.parametrize("status", [600, 999])
def test_a_status_that_is_none_of_http_is_a_502(status: int, api: str):
    assert publish(read_failure(status, b'{"error":{"message":"m"}}'), api).status == 502


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_client_credential_is_a_client_error(status: int):
    """No other target would accept it, and other clients' requests must not be affected."""
    failed = publish(read_failure(status, b'{"error":{"message":"m"}}'), access_key=None, passthrough_auth=True)
    assert (failed.reason, failed.status) == ("invalid", status)
    quota = publish(read_failure(status, b'{"error":{"message":"m","code":"insufficient_quota"}}'),
                    passthrough_auth=True, access_key=None)  # fmt: skip
    assert quota.reason == "quota"


@each_row("api", APIS)
def test_an_entry_may_configure_more_statuses_as_overload(api: str):
    """api7/aisix#752, anomalyco/opencode#20098."""
    members = {"quirks": {"unavailable_statuses": [403, 422]}}
    for status in (403, 422):
        failed = publish(read_failure(status, b'{"error":{"message":"full"}}'), api, **members)
        assert (failed.reason, failed.status, failed.message) == ("overloaded", 503, "full")
        assert dict(failed.headers)["retry-after"] == "1"
        assert publish(read_failure(status, b""), api).reason in ("credential", "invalid")
    assert publish(read_failure(400, b""), api, **members).reason == "invalid"


@each_row("api", APIS)
def test_a_full_flex_tier_of_groq_is_an_overload(api: str):
    """Groq sends 498 (laravel/ai#925). No other target was tried, because it looked like the client's mistake."""
    body = b'{"error":{"message":"full","type":"capacity_exceeded"}}'
    failed = publish(read_failure(498, body), api, model="groq/m", name="openai/m")
    assert (failed.reason, failed.status, dict(failed.headers)["retry-after"]) == ("overloaded", 503, "1")
    assert publish(read_failure(498, body), api).reason == "invalid"


@each_row("api", APIS)
def test_a_407_is_a_failed_connection(api: str):
    """The proxy between gateway and provider sends it (RFC 9110, section 15.5.8), and no client can log in there."""
    failed = publish(read_failure(407, b""), api)
    assert (failed.reason, failed.status) == ("connection", 502)


def test_a_blocked_or_empty_response_is_not_reported_as_a_rejected_key():
    """OpenRouter's moderation and xAI's empty accounts are a 403 (continuedev/continue#12670)."""
    blocked = {"message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}
    failed = publish(read_failure(403, json.dumps({"error": blocked}).encode()))
    assert (failed.reason, failed.status, failed.message) == ("content_filter", 400, "flagged")
    empty = {"message": "You have run out of credits or need a Grok subscription."}
    failed = publish(read_failure(403, json.dumps({"error": empty}).encode()))
    assert (failed.reason, failed.status) == ("quota", 402)


@each_row(
    ("body", "headers", "told_headers"),
    [
        ({"message": "m"}, {}, {"retry-after": "1"}),
        ({"message": "m"}, {"retry-after": "7"}, {"retry-after": "7"}),
        ({"message": "m", "resets_in_seconds": 90.5}, {}, {"retry-after": "91"}),
        ({"message": "m", "details": [{"retryDelay": "34.4s"}]}, {}, {"retry-after": "35"}),
        ({"message": "m", "resets_in_seconds": 600_000}, {}, {"retry-after": "600000"}),
        ({"message": "m"}, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"},
         {"retry-after": "360"}),
        ({"message": "m", "code": "insufficient_quota"}, {}, {"x-should-retry": "false"}),
        ({"message": "m", "code": "insufficient_quota"}, {"x-should-retry": "true"}, {"x-should-retry": "true"}),
        ({"message": "m", "code": "insufficient_quota"}, {"retry-after": "7"}, {"retry-after": "7"}),
        ({"message": "m", "code": "insufficient_quota", "resets_in_seconds": 90.5}, {}, {"retry-after": "91"}),
    ],
)  # fmt: skip
def test_the_client_receives_the_wait_from_any_place_in_the_error(
    body: object, headers: dict[str, str], told_headers: dict[str, str]
):
    """Clients without the wait retry immediately (openai/codex#30471, router-for-me/CLIProxyAPI#1666).

    An empty account has no time to wait for."""
    failed = read_failure(429, json.dumps({"error": body}).encode(), tuple(headers.items()))
    assert dict(publish(failed).headers) == told_headers


def test_errors_of_the_gateway_itself_have_no_reason():
    assert GatewayError("internal", "m").info.reason is None
    assert GatewayError("overloaded", "m", reason=None).info.reason is None


@each_row("api", APIS)
@each_row("provider", APIS)
def test_an_error_about_the_conversation_has_the_clients_member(api: Api, provider: Api):
    """``input: []`` to a Messages provider was an error of the member ``messages``, which the client had not sent."""
    own, client = (CODECS[one].wire.conversation.member for one in (provider, api))
    for param in (own, f"{own}[2].content"):
        error = read_failure(400, json.dumps({"error": {"message": "m", "param": param}}).encode())
        of_api = attrs.evolve(target(), api=provider)
        public = public_error(error, api, of_api, ())
        assert public.param == (param if own == client else client)
        assert public_error(public, api, of_api, ()) == public
    assert public_error(attrs.evolve(error, param="tools[0]"), api, of_api, ()).param == "tools[0]"
