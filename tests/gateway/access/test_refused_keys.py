"""Guessing gets slower, and nobody with a good key is kept out by it."""

import pytest

from gateway.access.authentication import Authenticator
from gateway.access.refused_keys import MINUTE, MOST, KeyRefused, RefusedKeys
from gateway.config.loading import from_mapping
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
def told() -> list[tuple[str, str | None, dict[str, str | None]]]:
    return []


@pytest.fixture
def refused(told, clock) -> RefusedKeys:
    return RefusedKeys(lambda event, address, **fields: told.append((event, address, fields)), clock)


def refusal(*headers: tuple[str, str]) -> KeyRefused:
    with pytest.raises(KeyRefused) as caught:
        Authenticator(CONFIG).authenticate(headers)
    return caught.value


def wrong(refused: RefusedKeys, address: str) -> GatewayError:
    return refused.judge(refusal(("x-api-key", "guess")), address, "/v1/messages")


def test_too_many_wrong_keys_from_one_address_get_a_429(refused, clock):
    statuses = [wrong(refused, "198.51.100.7").info.status for _ in range(MOST + 5)]
    assert statuses == [401] * MOST + [429] * 5
    clock.now += 20
    late = wrong(refused, "198.51.100.7").info
    assert dict(late.headers) == {"retry-after": "40", "x-should-retry": "false", "connection": "close"}
    assert wrong(refused, "198.51.100.8").info.status == 401
    clock.now += MINUTE
    assert wrong(refused, "198.51.100.7").info.status == 401


def test_requests_without_a_key_are_not_counted_as_guesses(refused):
    missing = refusal()
    assert {refused.judge(missing, "198.51.100.7", "/").info.status for _ in range(MOST * 2)} == {401}


def test_a_network_of_ipv6_is_one_address(refused):
    for number in range(MOST):
        assert wrong(refused, f"2001:db8::{number:x}").info.status == 401
    assert wrong(refused, "2001:db8::ffff:ffff").info.status == 429
    assert wrong(refused, "2001:db8:0:1::1").info.status == 401
    assert wrong(refused, "::ffff:198.51.100.7").info.status == 401


def test_the_audit_contains_the_reason_and_the_keys_owner(refused, told):
    for headers in ((), (("x-api-key", "guess"),), (("x-api-key", "a"), ("authorization", "Bearer b")),
                    (("x-api-key", "key-of-bob-0815"),)):  # fmt: skip
        refused.judge(refusal(*headers), "198.51.100.7", "/v1/messages")
    assert [(fields["reason"], fields["client"]) for _, _, fields in told] == [
        ("missing", None), ("unknown", None), ("several", None), ("ended", "bob"),
    ]  # fmt: skip
    assert "key-of" not in repr(told)
