"""The addresses that requests come in on."""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path as PathOfFile
from typing import Any, Final

import attrs

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.schema import ACCEPTED, OUTSIDE, RawConfig, RawLegacyListeners, RawListener, given
from gateway.config.settings import Config, Listener, TlsSettings


def build_listeners(raw: RawConfig, findings: Findings) -> tuple[tuple[Listener, ...], RawListener]:
    """The model listeners, those for health checks last, and what they have in common: one timeout, one number of
    retries."""
    found = tuple(_model_listeners(raw.listeners, findings))
    values = tuple(_listener(item, path, findings) for path, item in found)
    places = Counter(listener.place for listener in values)
    for (path, _), listener in zip(found, values, strict=True):
        if places[listener.place] > 1:
            findings.wrong(path, f"{listener.place} is taken twice", "give each listener its own port")
    common = {name: _common(found, name, findings) for name in ("timeout", "max_retries")}
    if values and all(listener.serves == "health" for listener in values):
        findings.wrong(("listeners",), "none serves model requests", "add a listener without `serves: health`")
    by_use = tuple(sorted(values, key=lambda listener: listener.serves == "health"))
    return by_use or (Listener(),), RawListener(**common)


def _listener(raw: RawListener, path: Path, findings: Findings) -> Listener:
    if raw.socket is None:
        if raw.mode is not None:
            findings.no_effect((*path, "mode"), "there is no socket whose permissions it could be, ignored")
    elif not raw.socket:
        findings.wrong((*path, "socket"), "an empty path", "write it as /run/trigate/trigate.sock")
    for name in ("address", "port", "tls"):
        if raw.socket is not None and getattr(raw, name) is not None:
            findings.wrong((*path, name), "given beside socket", "a Unix socket has neither address, port nor TLS")
    values = {name: value for name, value in given(raw).items() if name in _OWN}
    if raw.socket is not None:
        values["socket"] = PathOfFile(raw.socket)
    if raw.tls is not None:
        values["tls"] = TlsSettings(**{name: PathOfFile(file) for name, file in given(raw.tls).items()})
    return Listener(**values)


_OWN: Final = {field.name for field in attrs.fields(Listener)}


def exposed(config: Config) -> tuple[Listener, ...]:
    """The listeners that are meant for other machines and ask nobody for anything, though the file does not say that
    this is meant."""
    if config.asks_for_key or config.open:
        return ()
    return tuple(one for one in config.listeners if one.is_unguarded and not _is_local(one))


def _is_local(listener: Listener) -> bool:
    """True if only this machine reaches it. What a name stands for is not looked up."""
    try:
        return listener.socket is not None or ip_address(listener.address.partition("%")[0]).is_loopback
    except ValueError:
        return listener.address == "localhost" or listener.address.endswith(".localhost")


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
