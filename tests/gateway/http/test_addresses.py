"""Events of one address count together, with bounded memory."""

from gateway.http.addresses import ADDRESSES, AddressCounts


def test_too_many_events_of_one_address_must_wait_for_the_next_window(clock):
    counts = AddressCounts(3, 600, clock)
    waits = [(counts.seconds_to_wait("198.51.100.7"), counts.count("198.51.100.7")) for _ in range(4)]
    assert waits == [(0, 0), (0, 0), (0, 0), (600, 600)], "asking counts nothing"
    assert (counts.seconds_to_wait("198.51.100.7"), counts.seconds_to_wait("198.51.100.8")) == (600, 0)
    clock.now += 599.5
    assert counts.count("198.51.100.7") == 1
    clock.now += 1
    assert counts.count("198.51.100.7") == 0


def test_a_network_of_ipv6_counts_as_one_address(clock):
    counts = AddressCounts(2, 600, clock)
    assert [counts.count(f"2001:db8::{number:x}") for number in range(3)] == [0, 0, 600]
    assert counts.count("2001:db8:0:1::1") == 0


def test_addresses_beyond_the_bound_share_one_count(clock):
    counts = AddressCounts(3, 600, clock)
    waits = [counts.count(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}") for n in range(ADDRESSES + 5)]
    assert waits == [0] * (ADDRESSES + 3) + [600] * 2
    assert counts.count("10.0.0.1") == 0
