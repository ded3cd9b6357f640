"""Opens the people of a configuration, and runs what outlives it: the keys of issuers, and the people seen."""

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

import attrs
import trio

from configfile.wording import time_text
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.features.admin.interface import RightsStore, admin_of, sweep_regularly
from gateway.features.people.claude_code import claude_code_routes
from gateway.features.people.confirming import IssuerConfirmation
from gateway.features.people.directory import SENDER, sign_in_time
from gateway.features.people.followed import FollowedPeople, PersonKey
from gateway.features.people.gate import PeopleGate
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.oauth.paths import GUARDED, sign_in_routes
from gateway.features.people.rules import RuleBook
from gateway.features.people.seen import SeenPeople, finish_people, keep_people
from gateway.features.people.session_tokens import RefreshSeals
from gateway.features.people.sessions import Sessions
from gateway.features.people.settings import issuers_of, people_keys
from gateway.features.people.spend_forms import spend_forms_of
from gateway.features.people.store import PeopleStore
from gateway.http.headers import Headers
from gateway.ledger.figures import Figures
from gateway.ledger.record import Record
from gateway.seams.hooks import Hooks
from gateway.seams.observe import ExchangeObserver
from gateway.seams.running import Ports, Running, running_tasks


@attrs.frozen(eq=False, repr=False)
class PeopleTasks:
    """The issuers of a process, and the people that it has ``seen``, ``None`` without a ``store``."""

    issuers: IssuerDirectory
    store: PeopleStore | None
    seen: SeenPeople | None

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Follow the keys of the issuers, store the people seen, and delete expired rows of people."""
        tasks = [self.issuers.run]
        if self.store is not None and self.seen is not None:
            tasks += [partial(keep_people, self.seen), partial(sweep_regularly, self.store.sweep)]
        async with running_tasks(*tasks):
            task_status.started()
            await ending.wait()
        if self.seen is not None:
            await finish_people(self.seen)
        await self.issuers.aclose()


@attrs.frozen(eq=False, repr=False)
class PeopleOfConfig(Running):
    """The people of one configuration.

    - ``gate`` identifies them, ``issuers`` judge their tokens.
    - ``followed`` are the rows about them that this process follows; ``None`` under a server that follows none.
    - ``store`` stores them; ``None`` without a place for them.
    - ``sessions`` are those of people who have signed in; ``None`` without anything to sign or store them."""

    has_tasks = True

    hooks: Hooks
    tasks: PeopleTasks
    rights: RightsStore | None
    config: Config
    gate: PeopleGate
    followed: FollowedPeople | None
    sessions: Sessions | None
    rights_of_keys: dict[bytes, tuple[PersonKey, ClientKey, str | None]] = attrs.field(factory=dict, init=False)
    """The client of each own key by digest, as a list last needed it, and why its person is refused, if it is."""

    @property
    def lasting(self) -> object:
        return self.tasks

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 -- the tasks call it
        await self.tasks.run(ending, task_status=task_status)

    @property
    def issuers(self) -> IssuerDirectory:
        return self.tasks.issuers

    @property
    def store(self) -> PeopleStore | None:
        return self.tasks.store

    @property
    def missing(self) -> str | None:
        return "people" if self.followed is not None and not self.followed.is_read else None

    def state(self) -> Mapping[str, Any]:
        return {"issuers": self.issuers.keys.state()}

    def use(self) -> None:
        self.issuers.use_config(self.config)
        self.gate.directory.seen = self.tasks.seen


def people_of(opened: Mapping[str, Running]) -> PeopleOfConfig | None:
    """Return the people among the features ``opened``, ``None`` without issuers."""
    return cast("PeopleOfConfig | None", opened.get("people"))


def open_people(config: Config, ports: Ports, before: Running | None) -> PeopleOfConfig:
    """Open the people of ``config``, whose gate the kernel has opened."""
    admin, gate = admin_of(ports.opened), cast("PeopleGate", config.unlisted)
    assert admin is not None, "people need it"
    known = before if isinstance(before, PeopleOfConfig) else None
    if known is not None and known.issuers is gate.issuers and known.rights is admin.store:
        tasks, store = known.tasks, known.store
    else:
        store = None if admin.store is None else PeopleStore(admin.store.database)
        tasks = PeopleTasks(gate.issuers, store, None if store is None else SeenPeople(store))
    followed = ports.clients.rows if isinstance(ports.clients.rows, FollowedPeople) else None
    sessions = None if store is None else _open_sessions(config, tasks.issuers, store, followed, known)
    hooks = Hooks(
        response_forms=(partial(spend_forms_of, people_keys(config).limit_message),),
        routes=(partial(sign_in_routes, config), partial(claude_code_routes, config)),
        guarded=GUARDED,
        observe=() if followed is None else (lambda record, arrival: _SIGN_IN_NOTICE,),
        report=(partial(_report_stale_keys, tasks.issuers),),
    )
    return PeopleOfConfig(hooks, tasks, admin.store, config, gate, followed, sessions)


def _report_stale_keys(issuers: IssuerDirectory, figures: Figures) -> None:
    for name, seconds in issuers.keys.stale_seconds().items():
        figures.set("trigate_issuer_stale_seconds", seconds, name)


def _open_sessions(
    config: Config,
    issuers: IssuerDirectory,
    store: PeopleStore,
    followed: FollowedPeople | None,
    before: PeopleOfConfig | None,
) -> Sessions | None:
    """Return the sessions of people, ``None`` without a key to sign them or a URL for their browsers."""
    if not (config.signing_key and config.public_url):
        return None
    kept = None if before is None or before.sessions is None or before.store is not store else before.sessions
    unsaved = {} if kept is None else kept.confirmation.unsaved
    confirmation = IssuerConfirmation(store, issuers, RefreshSeals(config.signing_key), unsaved)
    rows = FollowedPeople() if followed is None else followed
    return Sessions(config, store, RuleBook(issuers_of(config)), confirmation, rows)


NOTICE_SECONDS: Final = 7 * 86400.0
"""Seconds before an own key asks for a sign-in, in which each response has the time."""


class _SignInNotice(ExchangeObserver):
    """Adds the time by which the person must sign in again to responses."""

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        sender = SENDER.get()
        due = math.inf if sender is None else sign_in_time(sender)
        if due - time.time() > NOTICE_SECONDS:
            return ()
        return (("x-trigate-sign-in-by", time_text(due)),)


_SIGN_IN_NOTICE: Final = _SignInNotice()
