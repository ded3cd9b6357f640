"""The listeners that a command opens: their sockets, TLS, URLs, and the check for unprotected ones."""

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterator, Sequence

import attrs

from configfile.document import ConfigError, Mistake
from gateway.config.listening import Listener, TlsSettings
from gateway.config.settings import Config
from gateway.config_files.loading import Examined
from gateway.config_reports.exposed_listeners import exposure
from gateway.named_imports import import_named
from gateway.processes.binding import adopt, bind, bind_unix, unlink_at_end
from gateway.processes.tls import CertificateFailed, ListenerTls, TlsFiles, unusable_files
from gateway.serving.listeners import ListenerOptions

log = logging.getLogger("trigate.server")

LOCAL = "127.0.0.1"
_WARNINGS = "gateway.commands.certificate_warnings:warnings_of"  # few listeners have a certificate


@attrs.frozen(eq=False, repr=False)
class OpenListener:
    """A listener and its socket."""

    listener: Listener
    sock: socket.socket
    options: ListenerOptions = attrs.field(factory=ListenerOptions)

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address, ``None`` for a Unix socket."""
        if self.listener.socket is not None:
            return None
        return ipaddress.ip_address(self.sock.getsockname()[0].partition("%")[0])

    @property
    def is_everywhere(self) -> bool:
        return self.address is not None and self.address.is_unspecified

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.address is None or self.address.is_loopback

    @property
    def url(self) -> str:
        """A URL that works on this machine, with 127.0.0.1 instead of 0.0.0.0."""
        if self.listener.socket is not None:
            return "http://localhost"
        host, port = self.sock.getsockname()[:2]
        host = LOCAL if self.is_everywhere else host
        scheme = "http" if self.listener.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def place(self) -> str:
        return self.url if self.listener.socket is None else f"unix:{self.listener.socket}"

    @property
    def curl(self) -> str:
        """The curl command for this listener, without the path."""
        over = "" if self.listener.socket is None else f"--unix-socket {self.listener.socket} "
        return f"curl -N {over}{self.url}"


def open_listener(host: str, port: int) -> OpenListener:
    """Open a listener without a configuration. Raises ``BindFailed``."""
    return OpenListener(Listener(address=host, port=port), bind(host, port))


def open_listeners(config: Config, host: str | None, port: int | None) -> tuple[OpenListener, ...]:
    """Open the listeners of ``config``; ``host`` and ``port`` override it. Raises ``BindFailed``,
    ``CertificateFailed``."""
    optioned = [(one, options_of(one)) for one in _listeners_to_open(config, host, port)]
    return tuple(OpenListener(one, _bind(one, config.write_timeout), options) for one, options in optioned)


def adopt_listeners(config: Config, host: str | None, port: int | None, fds: Sequence[int]) -> tuple[OpenListener, ...]:
    """Return the listeners of ``config`` with the supervisor's sockets ``fds``. Raises ``CertificateFailed``."""
    wanted = zip(_listeners_to_open(config, host, port), fds, strict=True)
    return tuple(OpenListener(one, adopt(fd), options_of(one)) for one, fd in wanted)


def _listeners_to_open(config: Config, host: str | None, port: int | None) -> tuple[Listener, ...]:
    """Return the listeners with overridden addresses, without duplicates."""
    moved = [_at_address(one, host, port) for one in config.listeners]
    return tuple({one.place: one for one in reversed(moved)}.values())[::-1]


def _at_address(listener: Listener, host: str | None, port: int | None) -> Listener:
    """Return ``listener`` at the address from the command line. ``port`` only moves listeners for model requests."""
    if listener.socket is not None:
        return listener
    wanted = listener.port if port is None or "models" not in listener.uses else port
    return attrs.evolve(listener, address=host or listener.address, port=wanted)


def _bind(listener: Listener, write_timeout: float) -> socket.socket:
    if listener.socket is not None:
        return bind_unix(listener.socket, listener.mode)
    return bind(listener.address, listener.port, write_timeout=write_timeout)


def options_of(listener: Listener) -> ListenerOptions:
    """Return the options for the listener's connections. Raises ``CertificateFailed``."""
    tls = None if listener.tls is None else ListenerTls(_files_of(listener.tls), listener.http2)
    is_for_probes = listener.serves == "health"
    return ListenerOptions(tls, listener.http2, is_for_probes, listener.proxy_protocol, listener.rules)


def _files_of(tls: TlsSettings) -> TlsFiles:
    return TlsFiles(tls.certificate, tls.key, tls.client_ca)


@contextlib.contextmanager
def unlink_sockets_on_exit(listeners: Sequence[OpenListener]) -> Iterator[None]:
    """Delete the files of Unix sockets at the end of the block."""
    with contextlib.ExitStack() as stack:
        for one in listeners:
            stack.enter_context(unlink_at_end(one.sock))
        yield


def reload_certificates(listeners: Sequence[OpenListener]) -> bool:
    """Read the certificates again; keep and log those that cannot be read. Return whether all were read."""
    good = True
    for tls in (one.options.tls for one in listeners if one.options.tls is not None):
        try:
            tls.reread()
        except CertificateFailed as error:
            log.error("could not reload a certificate, so the previous one stays in use: %s", error)
            good = False
    return good


# Access


def certificate_remarks(config: Config) -> tuple[str, ...]:
    """Return remarks on expired or expiring certificates, and on private keys that other users can read.

    The files are usable."""
    used = dict.fromkeys(_files_of(one.tls) for one in config.listeners if one.tls is not None)
    return tuple(text for files in used for text in import_named(_WARNINGS)(files))


def certificate_mistakes(found: Examined) -> Iterator[Mistake]:
    """Yield a mistake for each TLS file that cannot be used."""
    for one in found.config.listeners:
        for error in () if one.tls is None else unusable_files(_files_of(one.tls)):
            yield found.document.mistake((*one.path, "tls", error.key), f"{error.path}: {error.reason}", "")


def refuse_exposed(config: Config, listeners: Sequence[OpenListener], meant: bool) -> None:
    """Raise ``ConfigError`` if other machines can use a listener without a key or certificate.

    ``open: true`` in the file or ``--open`` (``meant``) allows that."""
    if config.asks_for_key or config.open or meant:
        return
    for one in listeners:
        if one.listener.is_unguarded and not one.is_local:
            raise ConfigError((Mistake(str(config.path), "", *exposure(one.listener)),))
