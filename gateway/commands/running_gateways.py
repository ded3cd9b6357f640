"""Finds the gateway for ``trigate connect``, and the models for the client.

The address comes from ``--url``, else from the config, else from the user's only gateway, else it is the default. The
models come from the gateway that runs there, else from the config, else from the demo. With ``--config``, they come
from that file alone.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from configfile.document import ConfigError, sentence
from gateway.commands.choosing import (
    EVERY_MODEL,
    ConfiguredOffer,
    KeyRequired,
    NoGateway,
    Offer,
    PlaceholderValues,
    RunningGateway,
    choose,
    values_of_all_models,
    values_of_models,
)
from gateway.commands.client import KEY_VARIABLE, GatewayAddress
from gateway.commands.demo import demo_config
from gateway.commands.registry import file_of_gateway, running_gateways
from gateway.commands.sessions import SavedSession, SessionFailed, SessionFile, valid_token
from gateway.commands.terminal import count_text, some_of
from gateway.config.listening import Listener
from gateway.config.settings import Config
from gateway.config_files.loading import load
from gateway.file_search import FILE_VARIABLE, find_config_file, users_file
from gateway.http.urls import is_loopback

LOCAL = "127.0.0.1"
USUAL = f"http://{LOCAL}:12000"


@attrs.frozen
class ConnectOptions:
    """The options of ``trigate connect``; ``arguments`` is None unless the client should be started."""

    config: Path | None = None
    url: str | None = None
    model: str | None = None
    small: str | None = None
    write: bool = False
    login: bool = False
    arguments: tuple[str, ...] | None = None


class ConnectFailed(Exception):
    """An error: ``trigate connect`` cannot continue. It has a message for the user, and the exit ``status``."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen
class Destination:
    """The gateway that a client connects to, and the models that it uses.

    ``source`` is a line that states their origin, "" if the command line gave everything. ``config`` is the gateway's
    configuration, if known, and ``is_running`` whether a gateway has responded there."""

    address: GatewayAddress
    source: str = ""
    config: Config | None = None
    is_running: bool = False


def find(options: ConnectOptions, chooses: str) -> Destination:
    """Return the gateway and the models for a client with this ``chooses``. Raises ``ConnectFailed``."""
    key = os.environ.get(KEY_VARIABLE)
    if not key and options.config is None and (session := _session_at(options.url)) is not None:
        return _find_by_session(options, chooses, *session)
    if options.url is not None and options.model is not None and chooses not in EVERY_MODEL:
        return _from_options(options.url, options.model, options.small, key)
    config = _find_config(options.config)
    known = ConfiguredOffer(config) if config is not None else None
    queried = _query_gateway(options, config, known, key)
    root, offer, reason = queried.root, queried.offer, queried.reason
    source = f"The gateway on {root} serves {count_text(len(offer.names), 'model')}." if offer is not None else ""
    if offer is not None and config is not None and _is_of_another(config, root):
        config = known = None
    if offer is None and known is None:
        return _demo_destination(options, chooses, reason, key)
    if offer is None and config is not None:
        offer, key = known, key or ("" if queried.requires_key or config.asks_for_key else None)
        source = f"{reason}; using the models in {config.path}." if reason else ""
    assert offer is not None
    address = GatewayAddress(root, _model_values(options, chooses, offer, config), key)
    return Destination(address, source, config, is_running=isinstance(offer, RunningGateway))


def _session_at(url: str | None) -> tuple[SavedSession, tuple[str, ...]] | None:
    """Return the user's session at ``url``, and the arguments that print its token.

    Without ``url`` it is the latest session, unless this directory or user has a configuration."""
    try:
        file = SessionFile.of_user()
        if url is None and _find_config(None) is not None:
            return None
        session = file.find(None if url is None else root_url(url))
    except SessionFailed:
        return None
    if session is None:
        return None
    return session, ("token",) if file.has_one() else ("token", session.root)


def _find_by_session(
    options: ConnectOptions, chooses: str, session: SavedSession, arguments: tuple[str, ...]
) -> Destination:
    """Return the gateway where the user is signed in, and its models. Raises ``ConnectFailed``."""
    root = session.root
    try:
        token = valid_token(SessionFile.of_user(), root)
        offer = RunningGateway(root, token, None)
    except SessionFailed as error:
        raise ConnectFailed(str(error), 2) from None
    except NoGateway as error:
        raise ConnectFailed(f"no gateway is running on {root} ({error})") from None
    except KeyRequired:
        raise ConnectFailed(f"the gateway on {root} rejects the session: run trigate login {root}", 2) from None
    address = GatewayAddress(root, _model_values(options, chooses, offer, None), token, arguments)
    source = f"The gateway on {root} serves {count_text(len(offer.names), 'model')}."
    return Destination(address, source, is_running=True)


def _from_options(url: str, model: str, small: str | None, key: str | None) -> Destination:
    """Return the destination if the command line gives both address and model."""
    return Destination(GatewayAddress(root_url(url), values_of_models(model, small, None), key))


@attrs.frozen
class _Queried:
    """The gateway at ``root``: its ``offer``, or the ``reason`` if it has none."""

    root: str
    offer: Offer | None = None
    reason: str = ""
    requires_key: bool = False


def _query_gateway(
    options: ConnectOptions, config: Config | None, known: ConfiguredOffer | None, key: str | None
) -> _Queried:
    """Return the result of asking the gateway for its models.

    The key goes only to this machine and to ``--url``: the config of a directory may be someone else's."""
    roots = [root_url(options.url)] if options.url is not None else _addresses_to_try(config)
    if options.arguments is not None:
        roots = roots[:1]  # the user's own gateway is started there
    if options.config is not None:
        return _Queried(roots[0])
    reasons = []
    for root in roots:
        shown = key if options.url is not None or is_here(root) else None
        try:
            return _Queried(root, RunningGateway(root, shown, known))
        except NoGateway as error:
            reasons.append(f"No gateway is running on {root} ({error})")
        except KeyRequired:
            if known is not None and shown is None:
                return _Queried(root, None, f"The gateway on {root} requires a key ({KEY_VARIABLE})", requires_key=True)
            raise ConnectFailed(_key_problem(root, key), 2) from None
    return _Queried(roots[0], None, reasons[0])


def _is_of_another(config: Config, root: str) -> bool:
    """Return whether the gateway at ``root`` has another configuration than ``config``."""
    return root != url_of(config) or file_of_gateway(root) not in (None, str(config.path and config.path.absolute()))


def _key_problem(root: str, key: str | None) -> str:
    if key:
        return f"the gateway on {root} rejects the key in {KEY_VARIABLE}: set it to one of its client_keys"
    return f"the gateway on {root} requires a key: set {KEY_VARIABLE} to one of its client_keys, and try again"


def _addresses_to_try(config: Config | None) -> Sequence[str]:
    """Return the addresses to try, in order. The user's own config may not be the one that is running."""
    if config is None:
        return [_usual_url()]
    own = config.path is not None and config.path == users_file(os.environ)
    return list(dict.fromkeys([url_of(config), *([USUAL] if own else [])]))


def _demo_destination(options: ConnectOptions, chooses: str, reason: str, key: str | None) -> Destination:
    if options.url is not None and options.model is not None:
        return _from_options(options.url, options.model, options.small, key)
    if options.url is not None:
        raise ConnectFailed(f"{reason}: start it, or choose a model with --model MODEL", 2)
    address = attrs.evolve(demo(chooses), key=key)
    if options.model is not None:
        address = attrs.evolve(address, models=values_of_models(options.model, options.small, None))
    source = f"Found no configuration and no gateway on {address.root}: these settings are for trigate serve --demo."
    return Destination(address, source)


def demo(chooses: str) -> GatewayAddress:
    """Return the address and models of ``trigate serve --demo``, for a client with this ``chooses``."""
    return GatewayAddress(USUAL, choose(chooses, ConfiguredOffer(demo_config(USUAL))))


def _model_values(options: ConnectOptions, chooses: str, offer: Offer, config: Config | None) -> PlaceholderValues:
    for model in (options.model, options.small):
        if model is not None and (problem := offer.rejection_reason(model)):
            raise ConnectFailed(f"{sentence(problem)}\nIt serves {some_of(offer.names) or 'no listed models'}", 2)
    if options.model is not None:
        return {**values_of_models(options.model, options.small, offer), **values_of_all_models(chooses, offer)}
    words = choose(chooses, offer)
    if options.small is not None:
        words |= {"small": options.small, "haiku": options.small}
    if "" in words.values():
        owner = config.path if config is not None else "the gateway"
        raise ConnectFailed(f"{owner} lists no model names: choose a model with --model", 2)
    return words


# The config and its address


def _find_config(path: Path | None) -> Config | None:
    """Return the config that ``serve`` would use, if there is one. Providers' keys need not be set."""
    is_named = path is not None or bool(os.environ.get(FILE_VARIABLE))
    try:
        found = find_config_file(Path.cwd(), os.environ, path)
    except ConfigError as error:
        if not is_named:
            return None
        raise ConnectFailed(str(error)) from None
    try:
        return _load_config(found)
    except ConfigError as error:
        raise ConnectFailed(str(error)) from None


def _load_config(path: Path) -> Config:
    """Load the configuration in ``path``; accept unset variables. Raises ``ConfigError``."""
    try:
        return load(path, os.environ)
    except ConfigError:
        return load(path, None)


def local_url() -> str:
    """Return the URL of the gateway on this machine: by the configuration here or of the user, else the only one.

    A key goes to this URL, so another machine's address in a configuration, which may be someone else's, is ignored."""
    try:
        config = _find_config(None)
    except ConnectFailed:
        config = None
    root = _usual_url() if config is None else url_of(config)
    return root if is_here(root) else USUAL


def _usual_url() -> str:
    """Return the URL of the user's running gateway if there is only one, otherwise the default one."""
    roots = [next(filter(is_here, one.urls), None) for one in running_gateways()]
    return roots[0] if len(roots) == 1 and roots[0] is not None else USUAL


def is_here(root: str) -> bool:
    """Return whether ``root`` is a URL of this machine."""
    return is_loopback(urlsplit(root).hostname or "")


def is_listening(root: str) -> bool:
    """Return whether a program listens at ``root``, a URL of this machine."""
    parts = urlsplit(root)
    try:
        socket.create_connection((parts.hostname or LOCAL, parts.port or 80), timeout=2).close()
    except OSError:
        return False
    return True


def url_of(config: Config) -> str:
    """Return the URL of the first listener that is not a Unix socket, for clients on this machine."""
    listener = next((one for one in config.listeners if one.socket is None), Listener())
    host = {"0.0.0.0": LOCAL, "::": LOCAL}.get(listener.address, listener.address)
    scheme = "http" if listener.tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}"


def root_url(url: str) -> str:
    """Return the URL of a gateway without a final ``/v1``. Raises ``ConnectFailed`` if ``url`` is no URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConnectFailed(f"--url {url!r} is not a URL: write it as http://HOST:PORT", 2)
    return url.rstrip("/").removesuffix("/v1")
