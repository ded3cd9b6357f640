"""Counters by their names, and claims of them."""

import hashlib
import itertools
import time

import pytest

from gateway.counters.counter import Claim, Counter, Debit, RateCounter, SlotCounter, SumCounter

STORES = [pytest.param(name, marks=pytest.mark.server) for name in ("redis", "postgres")]
"""Kinds of stores that several processes share."""

IDS = itertools.count()
DAY = 86_400.0


def key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def rate(name: str, amount: int = 10, seconds: float = 3600.0, burst: int | None = None) -> RateCounter:
    return RateCounter(key(name), name, amount, seconds, amount if burst is None else burst)


def slots(name: str, most: int = 2) -> SlotCounter:
    return SlotCounter(key(name), name, most)


def budget(name: str, most: int = 100, *earlier: str) -> SumCounter:
    return SumCounter(key(name), name, most, time.time() + DAY, tuple(map(key, earlier)))


def claim(*debits: tuple[Counter, int]) -> Claim:
    return Claim(str(next(IDS)), tuple(Debit(counter, amount) for counter, amount in debits))
