"""Sign-in with sessions in PostgreSQL: the same flows as with SQLite."""

import pytest

from tests.support.people_gateway import gateway_of, people_gateway

pytestmark = pytest.mark.server


def test_a_sign_in_a_program_and_a_sign_out_with_two_gateways(tmp_path, database):
    storage = {"type": "postgres", "connection_string": database}
    with (
        people_gateway(tmp_path, state_storage=storage) as first,
        gateway_of(tmp_path, first.provider, state_storage=storage) as second,
    ):
        browser, _ = first.sign_in("ada")
        assert browser.request("GET", f"{first.url}/me").json()["name"] == "okta:00u1"
        tokens = second.device_tokens("ada")
        tokens = first.refresh(tokens["refresh_token"]).json()
        assert tokens.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
        browser.open(f"{first.url}/oauth/logout")
        browser.submit()
        assert browser.request("GET", f"{first.url}/me").status_code == 401
