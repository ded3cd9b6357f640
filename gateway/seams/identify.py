"""The seam of identification: clients in addition to those of the configuration's file.

A feature may add clients in two ways. Both are opened before the parts of the kernel that depend on clients (rights,
limits, shares), so both get the configuration alone. At most one feature has each.

1. **Client source** (``Feature.client_source``): clients that are stored, and change while the process runs. Only
   ``trigate serve`` opens it, once, if ``stores_clients`` accepts its first configuration. ``read`` completes that
   one, ``complete`` each later one, in a thread; both return it with other ``client_keys``. ``follow`` runs until it is
   cancelled, and calls ``apply`` for each change. No method raises for a storage that is unavailable: it may return,
   and the last known clients stay valid. A stored client may have more to spend for a time: ``amount_of`` makes this
   the amount of its budget, or of its group's.
   Another feature may declare rows that the source reads together with its clients, in one transaction
   (``Feature.client_rows``), and the tables of these rows (``Feature.client_tables``).
2. **Unlisted clients** (``Feature.unlisted``): clients that no list has, because a token names them. They are opened
   for each configuration that ``is_wanted`` accepts, in a thread, with the source and the unlisted clients of the one
   before. ``Config.unlisted`` has them afterwards. The kernel first awaits ``prepare`` for a request whose credentials
   are no keys; it may wait two seconds, never raises, and a cancellation ends it. ``identify`` follows, never waits,
   and may raise ``GatewayError``: then the request ends with this error. Keys of the file and certificates have
   precedence. ``Config.by_client`` makes the tables of limits and rights, to which ``table`` adds those of unlisted
   clients."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from gateway.config.settings import Config

if TYPE_CHECKING:
    from gateway.allowances.allowance import Holder
    from gateway.allowances.budgets import PresentAmount
    from gateway.config.allowances import SpendingBudget
    from gateway.config.clients import ClientGroup, ClientKey
    from gateway.config.unlisted import UnlistedClients
    from gateway.ledger.figures import Figures
    from gateway.stores.database import Database


class ApplyClients(Protocol):
    """A function that uses the clients of ``with_clients(config)`` for new requests, which ``by`` changed.

    It may call ``with_clients`` in a thread. Never raises."""

    async def __call__(self, with_clients: Callable[[Config], Config], by: tuple[str, ...], /) -> None: ...


class ClientSource:
    """Clients that are stored, and change at run time. This base has none."""

    on_names: Callable[[frozenset[str]], object] = staticmethod(lambda _: None)
    """Called with the names of clients whose rights have changed without a change of ``client_keys``."""

    @property
    def rows(self) -> object:
        """The rows of another feature that it reads with its clients, ``None`` without any."""
        return None

    def amount_of(
        self, holder: "Holder", settings: "ClientKey | ClientGroup", budget: "SpendingBudget"
    ) -> "PresentAmount | None":
        """Return how to find the present amount of a ``budget`` in the ``settings`` of ``holder``.

        ``None`` if it is always that of the configuration."""
        return None

    async def read(self, config: Config) -> Config:
        """Read the storage, and return ``config`` with its clients."""
        return config

    def complete(self, config: Config) -> Config:
        """Return ``config`` with the last known clients."""
        return config

    async def follow(self, current: Callable[[], Config], apply: ApplyClients, figures: "Figures") -> None:
        """Call ``apply`` after each change, until cancelled. ``current`` returns the configuration of new requests.

        It may report to ``figures``, such as the seconds since the storage became unreadable."""


OpenRows: TypeAlias = Callable[[], object]
"""Returns rows that the client source reads together with its clients."""


StateDatabase: TypeAlias = "Database"
"""The database of the state storage. A client source uses a ``part`` of it."""


class OpenClientSource(Protocol):
    """Opens the clients that are stored in a ``database``, with the other ``rows`` to read."""

    def __call__(self, config: Config, database: StateDatabase, rows: OpenRows | None) -> ClientSource: ...


class FindClient(Protocol):
    """Finds a client for a command that runs outside a gateway.

    Returns ``config`` with the client ``name`` among its ``client_keys``, ``None`` if there is none; then it adds known
    names to ``names``, from which the command suggests one. Raises ``click.UsageError`` if it cannot know."""

    def __call__(self, config: Config, name: str, names: list[str]) -> Config | None: ...


class OpenUnlisted(Protocol):
    """Opens the unlisted clients of a configuration; ``before`` are those of the configuration before."""

    def __call__(self, config: Config, source: ClientSource, before: "UnlistedClients | None") -> "UnlistedClients": ...
