"""A target with a queue that serves one request at a time."""

from gateway.config_files.loading import from_mapping
from gateway.counters.counter import Claim, Debit, OnSettled, SlotCounter
from gateway.counters.memory import LocalCounters
from gateway.routing.router import Router
from gateway.routing.target import Target

SLOTS = SlotCounter(b"slots" + bytes(11), "model_providers.gpu.concurrent", 1)


def target(size: int = 4, wait: str = "3s") -> Target:
    entry = {
        "model": "openai/gpt-5", "name": "gpu", "access_key": "k",
        "ratelimits": {"concurrent": 1}, "queue": {"size": size, "wait": wait},
    }  # fmt: skip
    config = from_mapping({"version": "v0.4.0", "model_providers": [entry]})
    return Router(config).resolve("gpu", "chat")


def claim(name: str) -> Claim:
    return Claim(name, (Debit(SLOTS, 1),))


class FarCounters(LocalCounters):
    """Counters that only other processes settle, so that no callback runs."""

    def on_settled(self, callback: OnSettled) -> None:
        pass
