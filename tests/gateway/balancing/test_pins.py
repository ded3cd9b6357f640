"""The table of pins: what holds, what goes, and how large it gets."""

from gateway.balancing.pins import LocalPins, Pin

MEMBER = b"12345678"


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_pin_holds_until_its_time_is_over():
    pins = LocalPins()
    pins.put(key(1), Pin(MEMBER, 10.0), 0.0)
    assert pins.get(key(1), 9.9) == Pin(MEMBER, 10.0)
    assert pins.get(key(1), 10.0) is None
    assert pins.get(key(2), 0.0) is None


def test_the_longest_unused_goes_first_where_there_are_too_many():
    pins = LocalPins(3)
    for number in (1, 2, 3, 1, 4):
        pins.put(key(number), Pin(MEMBER, 1e9), 0.0)
    assert len(pins) == 3
    assert [pins.get(key(number), 0.0) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_what_is_over_makes_room_without_being_asked_for():
    pins = LocalPins()
    for number in range(1000):
        pins.put(key(number), Pin(MEMBER, number + 300.0), float(number))
    assert len(pins) <= 301


def test_a_pin_is_16_bytes_for_tables_that_processes_share():
    pin = Pin(MEMBER, 123.456)
    assert len(pin.pack()) == 16
    assert Pin.unpack(pin.pack()) == pin
