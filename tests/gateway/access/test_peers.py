"""The client's address: the peer's, or the one that trusted proxies have recorded."""

import pytest

from gateway.access.peers import Peers
from gateway.config_files.loading import ConfigError, from_mapping
from tests.support.each_row import each_row

BARE = {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}]}


def address(trusted: list[str], peer: tuple[str, int] | None, *forwarded: str) -> str:
    networks = from_mapping({**BARE, "trusted_proxies": trusted}).trusted_proxies
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return Peers(networks).address_of({"client": peer, "headers": headers})


@each_row(
    ("trusted", "peer", "forwarded", "found"),
    [
        ([], "10.0.0.1", ["198.51.100.7"], "10.0.0.1"),
        (["10.0.0.0/8"], "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["10.0.0.1"], "10.0.0.1", ["198.51.100.7, 10.0.0.2"], "10.0.0.2"),
        (["10.0.0.0/8"], "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        (["10.0.0.0/8"], "10.0.0.1", ["unknown\xff\n"], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        (["2001:db8::/32"], "2001:db8::1", ["198.51.100.7"], "198.51.100.7"),
        (["10.0.0.0/8"], "10.0.0.1", [", ".join(["6.6.6.6"] + ["10.0.0.2"] * 5000)], "10.0.0.2"),
    ],
)
def test_only_addresses_that_trusted_proxies_have_added_are_used(trusted, peer, forwarded, found):
    assert address(trusted, (peer, 1), *forwarded) == found


@pytest.mark.parametrize("peer", [None, ("", 0)])
def test_a_peer_on_a_unix_socket_is_trusted_by_that_word(peer):
    assert address([], peer, "198.51.100.7") == "unix"
    assert address(["10.0.0.0/8"], peer, "198.51.100.7") == "unix"
    assert address(["unix"], peer, "198.51.100.7") == "198.51.100.7"
    assert address(["unix"], ("10.0.0.1", 1), "198.51.100.7") == "10.0.0.1"


@each_row("network", ["10.0.0.0/33", "proxy.example", "10.0.0", "", 7, "Unix"])
def test_an_invalid_proxy_network_is_a_mistake(network):
    with pytest.raises(ConfigError, match="trusted_proxies"):
        from_mapping({**BARE, "trusted_proxies": [network]})
