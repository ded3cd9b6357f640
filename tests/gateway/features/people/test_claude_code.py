"""Claude Code's gateway protocol after sign-in: spending in its headers and errors, managed settings, telemetry.

The values are those of the protocol text (``GET /protocol``, 2.1.288): Claude Code 2.1.225 warns from the headers, and
drops the message of an exhausted budget that comes with ``representative-claim`` or ``overage-status``."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.features.people.records import Person
from gateway.features.people.session_tokens import SessionTokens
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import Reply, provider
from tests.support.people import MODEL, OTHER_MODEL, PeopleSetup, bearer, people_gateway
from tests.support.upstreams import Raw, fake_upstream

URL = "https://llm.example"
KEY = "7vZT9Dk0aQ8iEuU2Cw3n6Jx3p8j3G2n5c9uC9gk3q0M="
UNIFIED = "anthropic-ratelimit-unified-"
MESSAGE = "ask in #llm for more"
PRICE = {"input": 0, "output": 100_000}  # dollars per million: an answer of 7 tokens costs 0.7
COST = 0.7
ANSWER = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip


def session_token(sub: str = "00u1", groups: tuple[str, ...] = ("ml",)) -> str:
    now, tokens = time.time(), SessionTokens([base64.b64decode(KEY)], URL)
    person = Person(f"okta:{sub}", "Ada", "okta", 1)
    return tokens.make(person, {"sub": sub, "groups": list(groups)}, f"session-{sub}", now, now + 3600)


def rules(*budgets: str, **more: Any) -> list[dict[str, Any]]:
    return [{"when": {"groups": "ml"}, "models": [MODEL], "budgets": list(budgets), **more}]


def gateway_with(*admit: dict[str, Any], models: Any = None, **more: Any):
    """Return a running gateway whose answers cost ``COST`` dollars each."""

    def issuers(identity):
        return [{"name": "okta", "issuer": identity.issuer, "audience": ["trigate"], "admit": list(admit)}]

    def priced_models(upstream):
        return [
            provider("openai/gpt-4o", f"{upstream.url}/v1", name=name, price=PRICE) for name in (MODEL, OTHER_MODEL)
        ]

    return people_gateway(
        issuers, signing_key=KEY, public_url=URL, limit_message=MESSAGE, models=models or priced_models,
        state_storage={"type": "memory"}, **more,
    )  # fmt: skip


def ask(setup: PeopleSetup, token: str | None = None, model: str = MODEL, **more: Any) -> Reply:
    return setup.ask("messages", token or session_token(), model, max_tokens=1, **more)


def unified_headers(reply: Reply) -> dict[str, str]:
    return {name.removeprefix(UNIFIED): value for name, value in reply.headers.items() if name.startswith(UNIFIED)}


def day_end(zone: tzinfo = UTC) -> int:
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight + timedelta(days=1)).timestamp())


def zone_within_month() -> ZoneInfo:
    """Return a time zone in which the month does not end today."""
    zones = map(ZoneInfo, ("UTC", "Etc/GMT+12", "Etc/GMT-14"))
    return next(zone for zone in zones if (datetime.now(zone) + timedelta(days=1)).day > 1)


@pytest.fixture(scope="module")
def setup():
    with gateway_with(*rules()) as found:
        yield found


@pytest.mark.parametrize("stream", [False, True])
def test_headers_show_the_fullest_budget_until_it_is_exhausted(stream):
    zone = zone_within_month()
    with gateway_with(*rules("100 usd/month", "5 usd/day"), timezone=str(zone)) as setup:
        found = []
        for _ in range(12):
            reply = ask(setup, stream=stream)
            if reply.status != 200:
                break
            found.append(unified_headers(reply))
        assert reply.status == 429
        assert len(found) >= 4
        assert found[0]["reset"] != str(day_end(zone)), "of two unused budgets, the one that resets later"
        for number, headers in enumerate(found[1:], start=1):
            used = number * COST / 5
            surpassed = "0.95" if used > 0.95 else "0.75" if used > 0.75 else None
            assert headers == {
                "status": "allowed" if surpassed is None else "allowed_warning",
                "overage-status": "allowed" if surpassed is None else "allowed_warning",
                "representative-claim": "overage",
                "reset": str(day_end(zone)),
                "overage-reset": str(day_end(zone)),
                "overage-utilization": f"{min(round(used, 2), 0.99):g}",
                **({} if surpassed is None else {"overage-surpassed-threshold": surpassed}),
            }
        assert any("overage-surpassed-threshold" in headers for headers in found)


@pytest.mark.parametrize("stream", [False, True])
def test_an_exhausted_budget_is_a_429_that_claude_code_shows(stream):
    with gateway_with(*rules("1 usd/day")) as setup:
        replies = [ask(setup, stream=stream) for _ in range(4)]
        reply, left = replies[-1], day_end() - time.time()
        assert reply.status == 429
        error = reply.json["error"]
        day = datetime.fromtimestamp(day_end(), UTC).strftime("%Y-%m-%d")
        assert error["type"] == "billing_error"
        assert error["message"] == f"spend limit reached (daily; resets {day} 00:00 UTC) — {MESSAGE}"
        assert unified_headers(reply) == {
            "status": "rejected",
            "reset": str(day_end()),
            "overage-reset": str(day_end()),
            "overage-utilization": "1",
            "overage-surpassed-threshold": "1",
            "overage-period": "daily",
            "overage-disabled-reason": "org_spend_cap_reached",
        }
        assert reply.headers["x-should-retry"] == "false"
        assert abs(int(reply.headers["retry-after"]) - left) < 5


@each_row(("budget", "period"), [("week", "weekly"), ("month", "monthly"), ("hour", None), ("5h", None)])
def test_only_the_protocols_periods_are_named(budget, period):
    with gateway_with(*rules(f"1 usd/{budget}")) as setup:
        replies = [ask(setup) for _ in range(4)]
        assert replies[-1].status == 429
        assert unified_headers(replies[-1]).get("overage-period") == period
        assert bool(unified_headers(replies[0])) == (period is not None), "no warnings of other budgets"


def test_of_several_exhausted_budgets_the_one_that_resets_later_counts():
    with gateway_with(*rules("1 usd/day", "1 usd/month"), timezone=str(zone_within_month())) as setup:
        assert unified_headers([ask(setup) for _ in range(4)][-1])["overage-period"] == "monthly"


def test_tokens_of_the_issuer_and_other_apis_get_the_usual_forms():
    with gateway_with(*rules("1 usd/day")) as setup:
        token = setup.token()
        replies = [ask(setup, token) for _ in range(4)]
        assert [unified_headers(one) for one in replies] == [{}] * 4
        assert replies[-1].status == 402
        chat = setup.ask("chat", session_token())
        assert (chat.status, unified_headers(chat)) == (402, {})


def test_a_session_without_a_budget_gets_no_such_header(setup):
    reply = ask(setup)
    assert (reply.status, unified_headers(reply)) == (200, {})


def test_the_providers_limits_do_not_pass():
    theirs = {f"{UNIFIED}status": "rejected", "anthropic-ratelimit-requests-remaining": "3"}
    headers = (("content-type", "application/json"), *theirs.items())
    with fake_upstream(Raw(200, headers, (json.dumps(ANSWER).encode(),))) as limited:
        models = lambda _: [provider("anthropic/claude", limited.url, ["messages"], name=MODEL)]  # noqa: E731
        with gateway_with(*rules(), models=models) as setup:
            own = {name for name in ask(setup).headers if name.startswith("anthropic-ratelimit")}
            keyed = {name for name in ask(setup, setup.token()).headers if name.startswith("anthropic-ratelimit")}
    assert own == set()
    assert keyed == set(theirs), "clients with keys get them, as always"


def test_a_denied_model_is_a_400_for_a_session_and_a_403_for_a_token(setup):
    denied = ask(setup, model=OTHER_MODEL)
    assert (denied.status, denied.json["error"]["type"]) == (400, "invalid_request_error")
    assert ask(setup, setup.token(), OTHER_MODEL).status == 403


def test_counting_tokens_is_not_refused_for_money():
    with gateway_with(*rules("1 usd/day")) as setup:
        assert [ask(setup) for _ in range(4)][-1].status == 429
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        reply = setup.gateway.request("POST", "/v1/messages/count_tokens", body, bearer(session_token()))
        assert reply.status == 200


# Managed settings


BASE = {"env": {"A": "1"}, "permissions": {"allow": ["Read"], "deny": ["WebFetch"]}}


def settings(setup: PeopleSetup, token: str, **headers: str) -> Reply:
    return setup.gateway.request("GET", "/managed/settings", headers={**bearer(token), **headers})


def test_managed_settings_are_the_bases_and_the_rules():
    admit = [
        *rules(claude_code={"permissions": {"allow": ["Bash"], "deny": ["Bash(rm *)"]}, "env": {"B": "2"}}),
        {"when": {"groups": "platform"}},
    ]
    with gateway_with(*admit, claude_code=BASE) as setup:
        found = settings(setup, session_token())
        assert found.status == 200
        assert found.json["settings"] == {
            "env": {"A": "1", "B": "2"},
            "permissions": {"allow": ["Bash"], "deny": ["WebFetch", "Bash(rm *)"]},
        }
        assert found.json["checksum"].startswith("sha256:")
        assert found.headers["etag"] == f'"{found.json["checksum"]}"'
        assert settings(setup, session_token()).body == found.body
        same = settings(setup, session_token(), **{"if-none-match": found.headers["etag"]})
        assert (same.status, same.body) == (304, b"")
        other = settings(setup, session_token("00u2", ("platform",)))
        assert other.json["settings"] == BASE
        assert other.json["uuid"] != found.json["uuid"]
        assert settings(setup, "nonsense").status == 401


def test_empty_managed_settings_differ_from_missing_ones(setup):
    with gateway_with(*rules(), claude_code={}) as empty:
        found = settings(empty, session_token())
        assert (found.status, found.json["settings"]) == (200, {})
    assert settings(setup, session_token()).status == 404


# Telemetry


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs", "/v1/traces"])
def test_telemetry_of_a_session_is_discarded(setup, path):
    sent = setup.gateway.request("POST", path, {"resourceMetrics": []}, bearer(session_token()))
    assert (sent.status, sent.json) == (200, {})
    assert setup.gateway.request("POST", path, {}, bearer(setup.token())).status == 404
    assert setup.gateway.request("POST", path, {}, {}).status == 401


@pytest.mark.parametrize("path", ["/user/bootstrap", "/api/oauth/usage", "/protocol"])
def test_paths_of_anthropics_own_service_are_unknown(setup, path):
    assert setup.gateway.request("GET", path, headers=bearer(session_token())).status == 404


@needs_feature("model_lists")
def test_the_list_of_models_has_a_thousand_without_a_redirect(setup):
    found = setup.gateway.request("GET", "/v1/models?limit=1000", headers=bearer(session_token()))
    assert (found.status, [one["id"] for one in found.json["data"]]) == (200, [MODEL])
