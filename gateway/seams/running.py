"""The seam of the process: how a feature is opened, used, run and ended.

1. **Open.** For each configuration that ``is_wanted`` accepts, the kernel imports ``opening`` and calls it with the
   configuration, the ``Ports`` and the feature's ``Running`` of the configuration before. This runs in a thread and
   changes nothing that requests use. It may raise ``ConfigError``: then the configuration is rejected, and
   the one before stays in use. It returns ``before`` only if nothing of it depends on the configuration, and passes on
   what outlives a configuration. Features open in their order; ``Ports.opened`` has those above.
2. **Use.** Once all are open, the kernel calls ``use`` of each in the event loop, in one step with the new
   configuration; for the first configuration before the loop may run. It may not wait or raise.
3. **Run.** A feature with tasks of its own starts them in ``run``, in the nursery of the process. The kernel calls it
   once for each ``lasting``, so the tasks of that outlive a configuration. ``run`` calls ``task_status.started`` before
   the first request. An error that escapes from it ends the process.
4. **End.** The kernel sets ``ending`` when the process ends or another ``Running`` has taken over, and waits for
   ``run`` to return: of all features in reverse order, after the last request. It cancels what has not returned after
   ``SECONDS_TO_END``. Requests that began earlier may still use a replaced ``Running``.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from configfile.document import ConfigError
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.allowances.allowances import Allowances
from gateway.balancing.balancer import Balancer
from gateway.config.settings import Config, Remark
from gateway.conversations.background import Background, NoBackground
from gateway.health.health import Health
from gateway.ledger.ledger import Ledger
from gateway.routing.router import Router
from gateway.seams.hooks import NO_HOOKS, Hooks
from gateway.seams.identify import ClientSource
from gateway.seams.secrets import SecretReader
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.store import Store
from gateway.upstream.client import Upstream
from gateway.upstream.request import CredentialSource

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables
    from gateway.stores.database import Database

SECONDS_TO_END: Final = 5.0
"""The time in which a feature finishes its work when the process ends."""


class Running:
    """An open feature. This base has no hooks and no tasks."""

    hooks: Hooks = NO_HOOKS
    """They may not refer to this object: only the collector would then free a replaced configuration."""
    has_tasks: bool = False
    """True if the kernel must call ``run``."""
    remarks: Sequence[tuple[Remark, str]] = ()
    """Consequences of the configuration that its operator may not want."""

    @property
    def start_error(self) -> ConfigError | None:
        """The error with which ``run`` has prevented the start."""
        return None

    @property
    def lasting(self) -> object:
        """The object that owns the tasks, by default this one.

        The tasks of the configuration before continue if theirs is the same, and ``run`` is not called."""
        return self

    @property
    def missing(self) -> str | None:
        """The name of what this process must read before it is ready, ``None`` if it has everything."""
        return None

    def state(self) -> Mapping[str, Any]:
        """Return the members for the verbose readiness probe."""
        return {}

    def use(self) -> None:
        """Let what outlives a configuration use the new one."""

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the feature's tasks until ``ending`` is set, then finish them and return."""
        task_status.started()


@contextlib.asynccontextmanager
async def running_tasks(*tasks: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run the ``tasks`` of a feature until the end of the block."""
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        yield
        nursery.cancel_scope.cancel()


class Addition(Running):
    """A feature that only adds ``hooks``."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks


@attrs.frozen(eq=False, repr=False)
class Ports:
    """The parts of the kernel that a feature may use. Each configuration has its own ``router``, ``authenticator`` and
    ``allowances``; the others last.

    ``store`` has the turns of conversations. ``database`` is its database, ``None`` if it is in memory: a feature uses
    a ``part`` of it, and never closes it. ``shared`` has the tables in the memory of several workers. ``opened`` are
    the features above in the order, by name. ``options`` are those of ``trigate serve`` that belong to features.
    ``secrets`` are those in stores; ``None`` without any, and if only clients have changed.
    ``clients`` are those that are stored (``gateway.seams.identify``). ``is_reload``: the process serves another
    configuration already, so that an error of a task may not end it. ``credentials`` are the sources of credentials by
    the names of entries, complete when ``use`` is called."""

    router: Router
    authenticator: Authenticator
    allowances: Allowances
    ledger: Ledger
    upstream: Upstream
    health: Health
    lifecycle: Lifecycle
    shares: Shares
    balancer: Balancer
    background: Background | NoBackground
    store: Store | None
    shared: "SharedTables | None"
    opened: Mapping[str, Running] = attrs.field(factory=dict)
    options: Mapping[str, object] = attrs.field(factory=dict)
    secrets: SecretReader | None = None
    clients: ClientSource = attrs.field(factory=ClientSource)
    is_reload: bool = False
    credentials: Mapping[str, CredentialSource] = attrs.field(factory=dict)

    @property
    def database(self) -> "Database | None":
        return None if self.store is None else self.store.database


class OpenFeature(Protocol):
    """Opens a feature for a configuration; ``before`` is what it opened for the configuration before."""

    def __call__(self, config: Config, ports: Ports, before: Running | None) -> Running: ...
