"""The addresses on which the gateway listens."""

from typing import Annotated, Any, Literal, TypeAlias

import attrs

from configfile.document import Path
from configfile.keys import Kind, ignored, setting
from configfile.kinds import Count, Duration, Port
from gateway.config.kinds import OUTSIDE, FilePath, Mode, NeededPath, Network
from gateway.http.listener_rules import ALL_USES, ListenerRules, Use

_Word: TypeAlias = Literal["all", "health", "models", "admin", "pages", "metrics"]
_Uses: TypeAlias = tuple[Use, ...]
Serves: TypeAlias = Annotated[
    Literal["all", "health"] | _Uses,
    Kind(
        "word or list",
        lambda value: (value,) if value in ALL_USES else value,
        pick=lambda value: _Uses if isinstance(value, list) else _Word,
        parts=(_Word, _Uses),
    ),
]
"""The uses that a listener serves, or a word for some of them."""


@attrs.frozen(repr=False)
class TlsSettings:
    """The PEM files of a listener's TLS."""

    certificate: NeededPath = setting("The certificate file in PEM, followed by the intermediate certificates.")
    key: FilePath | None = setting("The key file in PEM, without a passphrase.", None, shown="the certificate's file")
    client_ca: NeededPath | None = setting(
        "A file of root certificates. Every client must show a certificate from one of them.",
        None,
        shown="no client certificates",
    )


@attrs.frozen(repr=False)
class Listener:
    """An address or Unix ``socket`` on which the gateway listens."""

    type: Literal["model", "prompt", "agent"] = setting("Only `model` is served.", "model")
    name: str = setting("A label for people.", "models")
    address: str = setting("A host name or an address. `0.0.0.0` means all IPv4 addresses, `::` all.", "127.0.0.1")
    port: Port = setting("", 12000)
    socket: FilePath | None = setting(
        "The path of a Unix socket, instead of `address` and `port`. Its directory must exist.", None
    )
    mode: Mode = setting(
        "The permissions of the socket. Users who can open it can use the gateway.",
        0o600,
        shown='`"0600"`: this user only',
    )
    tls: TlsSettings | None = setting("HTTPS.", None, shown="plain HTTP")
    proxy_protocol: bool = setting(
        "Read the client's address from the PROXY protocol header, version 1 or 2. A connection without it is closed.",
        False,
    )
    timeout: Duration | None = setting(
        "Sets `first_byte` and `idle` of [timeouts](#timeouts), for all model listeners.",
        None,
        compared=False,
        eq=False,
    )
    max_retries: Count | None = setting(
        "Plano's name for one less than `attempts` of [retries](#retries), which takes precedence.",
        None,
        shown="`0`",
        compared=False,
        eq=False,
    )
    http2: bool = setting(
        "Allow HTTP/2. Otherwise, clients with TLS use HTTP/1.1; HTTP/2 without TLS gets 505.",
        True,
    )
    serves: Serves = setting(
        "`health` serves only [health checks](operating.md#health-checks). Its connections do not count in "
        "`limits.connections`. `models`, `admin`, `pages` and `metrics`, alone or in a list, serve these and health "
        "checks.",
        "all",
        shown="`all`",
    )
    allow: tuple[Network, ...] = setting(
        "The networks of clients, such as `10.0.0.0/8`; other clients get 403. Behind "
        "`trusted_proxies`, these report the client's address.",
        (),
        shown="all networks",
    )
    router: Any = ignored(OUTSIDE)
    agents: Any = ignored(OUTSIDE)
    filter_chain: Any = ignored(OUTSIDE)
    input_filters: Any = ignored(OUTSIDE)
    output_filters: Any = ignored(OUTSIDE)
    path: Path = attrs.field(default=("listeners",), eq=False)

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}" if self.socket is None else str(self.socket)

    @property
    def uses(self) -> tuple[Use, ...]:
        """The uses of paths that it serves in addition to health checks."""
        if self.serves == "health":
            return ()
        return ALL_USES if self.serves == "all" else self.serves

    @property
    def rules(self) -> ListenerRules | None:
        """Its rules about requests, ``None`` if it serves everything to everyone, or health checks to everyone."""
        if self.serves in ("all", "health") and not self.allow:
            return None
        return ListenerRules(self.name, self.uses, self.allow)

    @property
    def is_unguarded(self) -> bool:
        """Whether it accepts client requests without a certificate."""
        return self.serves != "health" and (self.tls is None or self.tls.client_ca is None)


@attrs.frozen(repr=False)
class LegacyListener:
    """A listener in the legacy format."""

    address: str = setting("", "127.0.0.1")
    port: Port = setting("", 12000)
    message_format: Literal["openai"] | None = setting("No effect: every API is served.", None)
    timeout: Duration | None = setting("As `timeout` of [listeners](#listeners).", None)


@attrs.frozen(repr=False)
class LegacyListeners:
    """The legacy format of ``listeners``: a mapping with one listener for models."""

    egress_traffic: LegacyListener | None = setting("The model listener.", None)
    ingress_traffic: Any = ignored(OUTSIDE)


def _in_current_format(value: tuple[Listener, ...] | LegacyListeners) -> tuple[Listener, ...]:
    """Return the listeners in the current format."""
    if not isinstance(value, LegacyListeners):
        return value
    if (old := value.egress_traffic) is None:
        return ()
    return (Listener(address=old.address, port=old.port, timeout=old.timeout),)


Listeners: TypeAlias = Annotated[
    tuple[Listener, ...],
    Kind(
        "list",
        _in_current_format,
        pick=lambda value: LegacyListeners if isinstance(value, dict) else tuple[Listener, ...],
        parts=(tuple[Listener, ...], LegacyListeners),
    ),
]
