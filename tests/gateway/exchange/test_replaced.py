"""The clients that learn about a new configuration."""

from gateway.exchange.service import Replaced


def test_each_subscriber_gets_only_its_own_events():
    replaced = Replaced()
    alice, bob, nobody = map(replaced.of, ("alice", "bob", None))
    replaced.set_for(["alice", "somebody who waits for nothing"])
    assert [event.is_set() for event in (alice, bob, nobody)] == [True, False, False]
    assert not replaced.of("alice").is_set(), "who comes in later hears of what comes later"
    replaced.set()
    assert bob.is_set()
    assert nobody.is_set()
    assert replaced.of("carol").is_set()
