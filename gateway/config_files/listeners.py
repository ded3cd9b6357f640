"""The check of the listeners of a file."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.kinds import OUTSIDE
from gateway.config.listening import Listener


@attrs.frozen(repr=False)
class ActiveListeners:
    """The active listeners, those for health checks last, and their common settings: a timeout, and a number of
    retries."""

    listeners: tuple[Listener, ...]
    timeout: float | None
    max_retries: int | None


def build_listeners(listeners: Sequence[Listener], findings: Findings) -> ActiveListeners:
    """Return the file's model listeners, and report errors in them."""
    if "listeners" not in findings.given_attributes(()):
        return ActiveListeners((Listener(),), None, None)
    legacy = ("listeners", "egress_traffic")
    is_legacy = bool(findings.given_attributes(legacy[:1]))
    found = []
    for i, listener in enumerate(listeners):
        path = legacy if is_legacy else ("listeners", i)
        if listener.type == "model":
            found.append((path, attrs.evolve(_check_listener(listener, path, findings), path=path)))
        else:
            findings.no_effect(path, f"of type {listener.type}, {OUTSIDE}")
    places = Counter(listener.place for _, listener in found)
    for path, listener in found:
        if places[listener.place] > 1:
            findings.wrong(path, f"two listeners use {listener.place}", "give each listener its own address or port")
    if found and not any("models" in listener.uses for _, listener in found):
        findings.wrong(("listeners",), "no listener serves model requests", "add a listener without `serves: health`")
    by_use = tuple(sorted((listener for _, listener in found), key=_rank))
    timeout, retries = (_common_value(found, name, findings) for name in ("timeout", "max_retries"))
    return ActiveListeners(by_use or (Listener(),), timeout, retries)


def _rank(listener: Listener) -> int:
    """Return the rank of a listener: those for models come first, those for health checks alone last."""
    return ("models" not in listener.uses) + (listener.serves == "health")


def _check_listener(listener: Listener, path: Path, findings: Findings) -> Listener:
    given = findings.given_attributes(path)
    if "socket" not in given:
        if "mode" in given:
            findings.no_effect((*path, "mode"), "it applies only to a socket; ignored")
        return listener
    if listener.socket is None:
        findings.wrong((*path, "socket"), "the path is empty", "write it like /run/trigate/trigate.sock")
    for name in ("address", "port", "tls"):
        if name in given:
            findings.wrong(
                (*path, name), "it cannot be combined with socket", "a Unix socket has neither address, port nor TLS"
            )
    return listener


def _common_value(found: Sequence[tuple[Any, Listener]], name: str, findings: Findings) -> Any:
    values = [(path, value) for path, listener in found if (value := getattr(listener, name)) is not None]
    for path, value in values:
        if value != values[0][1]:
            findings.wrong(
                (*path, name),
                "it differs from another listener's value",
                "set the same value for all model listeners",
            )
    return values[0][1] if values else None
