"""The gateway that a client is to be pointed at, and the models that the client gets.

The address is that of ``--url``, else of the config, else the usual one. The gateway that runs there says what it
serves: that is what the client will get, whatever a file says. Only where none answers is it the config, and where
there is none either, the demo. A config that the command line names is taken at its word, and nobody is asked.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from configfile.document import sentence
from gateway.commands.choosing import (
    EVERY_MODEL,
    Configured,
    KeyWanted,
    Offer,
    RunningGateway,
    Silent,
    Words,
    chosen,
    every_model,
    named,
)
from gateway.commands.client import KEY_VARIABLE, GatewayAddress
from gateway.commands.demo import demo_config
from gateway.config.listening import Listener
from gateway.config.loading import FILE_NAMES, FILE_VARIABLE, Config, ConfigError, discover, load, users_file
from gateway.config.urls import is_loopback

LOCAL = "127.0.0.1"
SHOWN = 12  # models that a message lists
USUAL = f"http://{LOCAL}:12000"


@attrs.frozen
class ConnectOptions:
    """The options of the command line. ``arguments`` None: the client is not to be started."""

    config: Path | None = None
    url: str | None = None
    model: str | None = None
    small: str | None = None
    write: bool = False
    login: bool = False
    arguments: tuple[str, ...] | None = None


class Refused(Exception):
    """The message is for the person; ``status`` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen
class Destination:
    """The gateway and the models that a client is pointed at. ``source`` says in a line where that is known from, ""
    where the command line says all of it; ``demo``: the person should know that it is the demo, whatever is done;
    ``config`` is the gateway's configuration, as far as it is known here."""

    place: GatewayAddress
    source: str = ""
    demo: bool = False
    config: Config | None = None


def find(options: ConnectOptions, chooses: str) -> Destination:
    """The gateway, with the models that a client gets whose row says ``chooses``. Raises ``Refused``."""
    key = os.environ.get(KEY_VARIABLE)
    if options.url is not None and options.model is not None and chooses not in EVERY_MODEL:
        return _as_said(options.url, options.model, options.small, key)
    config = _config(options.config)
    known = Configured(config) if config is not None else None
    root, offer, reason = _asked(options, config, known, key)
    source = f"The gateway on {root} serves {_counted(len(offer.names))}." if offer is not None else ""
    if offer is not None and not _describes(config, root, options):
        config = known = None
    if offer is not None and known is not None and config is not None and not config.asks_for_key:
        source += _differing(known, offer, config)
    if offer is None and known is None:
        return _demo(options, chooses, reason, key)
    if offer is None and config is not None:
        offer, key = known, key or ("" if config.asks_for_key else None)
        source = f"{reason}: this is from {config.path}." if reason else ""
    assert offer is not None
    return Destination(GatewayAddress(root, _words(options, chooses, offer, config), key), source, config=config)


def _as_said(url: str, model: str, small: str | None, key: str | None) -> Destination:
    """Return the destination that the command line states in full."""
    return Destination(GatewayAddress(_root(url), named(model, small, None), key))


def _counted(models: int) -> str:
    return f"{models} model{'' if models == 1 else 's'}"


def _asked(
    options: ConnectOptions, config: Config | None, known: Configured | None, key: str | None
) -> tuple[str, Offer | None, str]:
    """The address, what the gateway there offers, and why that is not known where it is None.

    The key is shown to this machine, and to where the command line says: a config in a folder may be anybody's."""
    roots = [_root(options.url)] if options.url is not None else _roots(config)
    if options.config is not None:
        return roots[0], None, ""
    reasons = []
    for root in roots:
        shown = key if options.url is not None or is_loopback(urlsplit(root).hostname or "") else None
        try:
            return root, RunningGateway(root, shown, known), ""
        except Silent as silent:
            reasons.append(f"No gateway answers on {root} ({silent})")
        except KeyWanted:
            if known is not None and shown is None:
                return root, None, f"The gateway on {root} asks for a key ({KEY_VARIABLE})"
            raise Refused(_key_wanted(root, key), 2) from None
    return roots[0], None, reasons[0]


def _key_wanted(root: str, key: str | None) -> str:
    if key:
        return f"the gateway on {root} refuses the key in {KEY_VARIABLE}: set it to one of its client_keys"
    return f"the gateway on {root} asks for a key: set {KEY_VARIABLE} to one of its client_keys, and try again"


def _roots(config: Config | None) -> Sequence[str]:
    """Addresses in the order in which to ask. A person's own config may not be the one that runs today."""
    if config is None:
        return [USUAL]
    own = config.path is not None and config.path == users_file(os.environ)
    return list(dict.fromkeys([address(config), *([USUAL] if own else [])]))


def _describes(config: Config | None, root: str, options: ConnectOptions) -> bool:
    """True if ``config`` may be that of the gateway on ``root``: the one that ``--url`` names may be another."""
    return config is None or options.url is None or root in _roots(config)


def _differing(known: Configured, offer: Offer, config: Config) -> str:
    served = set(offer.names)
    if all(name in served for name in known.names):
        return ""
    return f"\n{config.path} has other models: a gateway that was started with it reads it again on SIGHUP."


def _demo(options: ConnectOptions, chooses: str, reason: str, key: str | None) -> Destination:
    if options.url is not None and options.model is not None:
        return _as_said(options.url, options.model, options.small, key)
    if options.url is not None:
        raise Refused(f"{reason}: start it, or name the model to ask for: --model MODEL", 2)
    place = attrs.evolve(demo(chooses), key=key)
    if options.model is not None:
        place = attrs.evolve(place, models=named(options.model, options.small, None))
    source = f"There is no configuration here, and no gateway on {place.root}: this is for trigate serve --demo."
    return Destination(place, source, demo=True)


def demo(chooses: str) -> GatewayAddress:
    """``trigate serve --demo``, for a client whose row says ``chooses``."""
    return GatewayAddress(USUAL, chosen(chooses, Configured(demo_config(USUAL))))


def _words(options: ConnectOptions, chooses: str, offer: Offer, config: Config | None) -> Words:
    for asked in (options.model, options.small):
        if asked is not None and (problem := offer.problem(asked)):
            raise Refused(f"{sentence(problem)}\nIt has {_some(offer.names)}", 2)
    if options.model is not None:
        return {**named(options.model, options.small, offer), **every_model(chooses, offer)}
    words = chosen(chooses, offer)
    if options.small is not None:
        words |= {"small": options.small, "haiku": options.small}
    if "" in words.values():
        who = config.path if config is not None else "the gateway"
        raise Refused(f"{who} lists no model by name: name one with --model", 2)
    return words


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" if names else "no models that are listed"


# The config, and where it says that the gateway listens


def _config(path: Path | None) -> Config | None:
    """The config that ``serve`` would find, if there is one. Providers' keys need not be set where clients run."""
    is_named = path is not None or bool(os.environ.get(FILE_VARIABLE))
    try:
        found = discover(Path.cwd(), os.environ, path)
    except ConfigError as error:
        if not is_named:
            return None
        raise Refused(str(error)) from None
    try:
        return _loaded(found)
    except ConfigError as error:
        if is_named or not _foreign(found):
            raise Refused(str(error)) from None
    users = users_file(os.environ)
    if users is None or not users.is_file():
        return None
    try:
        return _loaded(users)
    except ConfigError as error:
        raise Refused(str(error)) from None


def _loaded(path: Path) -> Config:
    """Return the configuration in ``path``, without its variables where these are not set. Raises ``ConfigError``."""
    try:
        return load(path, os.environ)
    except ConfigError:
        return load(path, None)


def _foreign(path: Path) -> bool:
    """True if a file that was only found is somebody else's: many programs have a ``config.yaml``."""
    return path.name != FILE_NAMES[0] and not any(
        key in path.read_bytes() for key in (b"model_providers", b"llm_providers")
    )


def address(config: Config) -> str:
    """The address at which a client on this machine reaches the first listener that is no Unix socket."""
    listener = next((one for one in config.listeners if one.socket is None), Listener())
    host = {"0.0.0.0": LOCAL, "::": LOCAL}.get(listener.address, listener.address)
    scheme = "http" if listener.tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}"


def _root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused(f"--url {url!r} is no address: write it as http://HOST:PORT", 2)
    return url.rstrip("/").removesuffix("/v1")
