"""Responses in progress that several requests read, without a gateway."""

from typing import Any

import trio

from gateway.access.body_memory import BodyBudget, HeldPieces
from gateway.access.held_bytes import HeldBytes
from gateway.config_files.loading import from_mapping
from gateway.exchange.service import Service
from gateway.features.answer_cache.cache import AnswerCache
from gateway.features.answer_cache.flight import Flight
from gateway.features.answer_cache.opening import OpenCache
from gateway.features.answer_cache.stored_answer import AnswerStamp

ENTRY = {"model": "openai/m", "access_key": "k"}


class Body:
    """A ``BodySource`` of pieces, each after some seconds."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self._pieces = list(pieces)
        self.closed = False

    async def read(self) -> bytes:
        if not self._pieces:
            return b""
        seconds, piece = self._pieces.pop(0)
        await trio.sleep(seconds)
        return piece

    async def aclose(self) -> None:
        self.closed = True


def new_budget(memory: HeldBytes, *clients: str, **limits: Any) -> BodyBudget:
    """Return the limits on ``memory`` for these clients."""
    keys = [{"name": name, "key": f"key-of-client-{name}"} for name in clients]
    mapping = {"version": "v0.4.0", "model_providers": [ENTRY], "limits": limits}
    return BodyBudget(from_mapping({**mapping, "client_keys": keys} if keys else mapping), memory)


def new_flight(most: int, budget: BodyBudget | None = None, holder: str = "") -> Flight:
    """Return a response in progress whose first request counts for ``holder``."""
    return Flight(most, AnswerStamp(1), HeldPieces(budget or new_budget(HeldBytes()), holder), holder)


def cache_of(service: Service) -> AnswerCache:
    """Return the response cache of ``service``, which is configured."""
    opened = service.opened.features["answer_cache"]
    assert isinstance(opened, OpenCache)
    return opened.cache


def begin_flight(flight: Flight) -> None:
    """Begin ``flight`` with an empty piece."""
    flight.begin("text/event-stream", [(trio.current_time(), b"")], whole=False)
