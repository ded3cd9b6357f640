"""The addresses that requests come in on."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from gateway.config.document import Path
from gateway.config.findings import Findings
from gateway.config.schema import ACCEPTED, OUTSIDE, RawConfig, RawLegacyListeners, RawListener, given, later
from gateway.config.settings import Listener

_WRITTEN: Final = ("name", "address", "port", "http2", "serves")
"""The settings of a listener that are its own."""
NO_RETRIES = later("a request that failed is not repeated")[ACCEPTED]


def build_listeners(raw: RawConfig, findings: Findings) -> tuple[tuple[Listener, ...], RawListener]:
    """The model listeners, those for health checks last, and what they have in common: one timeout, one number of
    retries."""
    found = tuple(_model_listeners(raw.listeners, findings))
    values = tuple(Listener(**{k: v for k, v in given(item).items() if k in _WRITTEN}) for _, item in found)
    places: dict[tuple[str, int], str] = {}
    for (path, _), listener in zip(found, values, strict=True):
        first = places.setdefault((listener.address, listener.port), listener.name)
        if first != listener.name or list(values).count(listener) > 1:
            taken = f"{listener.address}:{listener.port} is taken twice"
            findings.wrong(path, taken, "give each listener its own port")
    common = {name: _common(found, name, findings) for name in ("timeout", "max_retries")}
    for path, item in found:
        if item.max_retries:
            findings.no_effect((*path, "max_retries"), NO_RETRIES)
    if values and all(listener.serves == "health" for listener in values):
        findings.wrong(("listeners",), "none serves model requests", "add a listener without `serves: health`")
    by_use = tuple(sorted(values, key=lambda listener: listener.serves == "health"))
    return by_use or (Listener(),), RawListener(**common)


def _model_listeners(raw: Any, findings: Findings) -> Iterator[tuple[Path, RawListener]]:
    if isinstance(raw, RawLegacyListeners):
        traffic = raw.egress_traffic
        if traffic is not None:
            shape = RawListener(address=traffic.address, port=traffic.port, timeout=traffic.timeout)
            yield ("listeners", "egress_traffic"), shape
        return
    for i, item in enumerate(raw or ()):
        if item.type == "model":
            yield ("listeners", i), item
        else:
            findings.no_effect(("listeners", i), f"of type {item.type}, {OUTSIDE[ACCEPTED]}")


def _common(found: Iterable[tuple[Path, RawListener]], name: str, findings: Findings) -> Any:
    values = [(path, value) for path, item in found if (value := getattr(item, name)) is not None]
    for path, value in values:
        if value != values[0][1]:
            findings.wrong((*path, name), "differs from another listener's", "all model listeners share one value")
    return values[0][1] if values else None
