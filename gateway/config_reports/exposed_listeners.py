"""Listeners that other machines can use without a key or a certificate."""

from ipaddress import ip_address

from configfile.expanded import Unresolved
from gateway.config.listening import Listener
from gateway.config.settings import Config


def exposed_listeners(config: Config) -> tuple[Listener, ...]:
    """Return the listeners open to other machines without any key, although the file does not set ``open``."""
    if config.asks_for_key or config.open:
        return ()
    return tuple(one for one in config.listeners if one.is_unguarded and not _is_local(one))


def _is_local(listener: Listener) -> bool:
    """Return whether only this machine can reach it. Names are not resolved; an unknown address counts as local."""
    if isinstance(listener.address, Unresolved):
        return True
    try:
        return listener.socket is not None or ip_address(listener.address.partition("%")[0]).is_loopback
    except ValueError:
        return listener.address == "localhost" or listener.address.endswith(".localhost")


def exposure(listener: Listener) -> tuple[str, str]:
    """Return a sentence about who can reach the unprotected ``listener`` and what they can do, and the advice."""
    return (
        f"client_keys is not set, so every machine that can connect to {listener.place} can use the provider keys "
        "in this config",
        "set client_keys or the listener's tls.client_ca, listen on 127.0.0.1, or allow it with `open: true` or --open",
    )
