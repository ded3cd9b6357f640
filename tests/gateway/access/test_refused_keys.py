"""Guessing keys gets slower, and clients with a good key are never refused because of it."""

import pytest

from gateway.access.authentication import Authenticator
from gateway.access.refused_keys import MINUTE, MOST, KeyRefused, RefusedKeys
from gateway.config_files.loading import from_mapping
from streams.errors import GatewayError

CONFIG = from_mapping(
    {
        "version": "v0.3.0",
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "client_keys": [
            {"name": "alice", "key": "key-of-alice-0815"},
            {"name": "bob", "key": "key-of-bob-0815", "until": "2020-01-01"},
        ],
    }
)


@pytest.fixture
def audit_log() -> list[tuple[str, str | None, dict[str, str | None]]]:
    return []


@pytest.fixture
def refused_keys(audit_log, clock) -> RefusedKeys:
    return RefusedKeys(lambda event, address, **fields: audit_log.append((event, address, fields)), clock)


def refusal(*headers: tuple[str, str]) -> KeyRefused:
    with pytest.raises(KeyRefused) as caught:
        Authenticator(CONFIG).authenticate(headers)
    return caught.value


def wrong(refused_keys: RefusedKeys, address: str) -> GatewayError:
    return refused_keys.judge(refusal(("x-api-key", "guess")), address, "/v1/messages")


def test_too_many_wrong_keys_from_one_address_get_a_429(refused_keys, clock):
    statuses = [wrong(refused_keys, "198.51.100.7").info.status for _ in range(MOST + 5)]
    assert statuses == [401] * MOST + [429] * 5
    clock.now += 20
    late = wrong(refused_keys, "198.51.100.7").info
    assert dict(late.headers) == {"retry-after": "40", "x-should-retry": "false", "connection": "close"}
    assert wrong(refused_keys, "198.51.100.8").info.status == 401
    clock.now += MINUTE
    assert wrong(refused_keys, "198.51.100.7").info.status == 401


def test_requests_without_a_key_are_not_counted_as_guesses(refused_keys):
    missing = refusal()
    assert {refused_keys.judge(missing, "198.51.100.7", "/").info.status for _ in range(MOST * 2)} == {401}


def test_a_network_of_ipv6_is_one_address(refused_keys):
    for number in range(MOST):
        assert wrong(refused_keys, f"2001:db8::{number:x}").info.status == 401
    assert wrong(refused_keys, "2001:db8::ffff:ffff").info.status == 429
    assert wrong(refused_keys, "2001:db8:0:1::1").info.status == 401
    assert wrong(refused_keys, "::ffff:198.51.100.7").info.status == 401


def test_the_audit_contains_the_reason_and_the_keys_owner(refused_keys, audit_log):
    for headers in ((), (("x-api-key", "guess"),), (("x-api-key", "a"), ("authorization", "Bearer b")),
                    (("x-api-key", "key-of-bob-0815"),)):  # fmt: skip
        refused_keys.judge(refusal(*headers), "198.51.100.7", "/v1/messages")
    assert [(fields["reason"], fields["client"]) for _, _, fields in audit_log] == [
        ("missing", None), ("unknown", None), ("several", None), ("ended", "bob"),
    ]  # fmt: skip
    assert "key-of" not in repr(audit_log)
