"""The people that a process knows, and tables by client name that include them.

People are not in the file, so a table makes a person's value from the client of its rule, when it is first needed."""

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

import attrs

from gateway.config.clients import ClientKey
from gateway.features.people.followed import PersonKey
from gateway.features.people.records import Credential, Person
from gateway.features.people.settings import AdmitRule

if TYPE_CHECKING:
    from gateway.features.people.seen import SeenPeople

V = TypeVar("V")

MOST_KNOWN: Final = 50_000
"""People that a process knows. Those with running requests are known in any case."""


@attrs.frozen(eq=False, repr=False)
class KnownPerson:
    """A person with the rights of one of its tokens, those of ``rule``."""

    person: Person
    rule: AdmitRule

    @property
    def name(self) -> str:
        return self.person.name

    @property
    def template(self) -> ClientKey:
        """The client with the rights of the rule."""
        assert self.rule.client is not None, "rules of a read configuration have one"
        return self.rule.client


@attrs.frozen(eq=False, repr=False)
class Sender:
    """The person that sent a request, and its credential, valid until ``expiry`` (Unix seconds).

    ``credential_id`` is the id of the session, or the name of the own key, and ``source`` its record."""

    known: KnownPerson
    expiry: float
    credential: Credential
    credential_id: str | None = None
    source: object = None


def sign_in_time(sender: Sender) -> float:
    """Return the Unix time by which a person must sign in again to use the own key of ``sender``."""
    limits, key = sender.known.rule.own_keys, sender.source
    return key.confirmed + limits.renew if limits is not None and isinstance(key, PersonKey) else math.inf


SENDER: ContextVar[Sender | None] = ContextVar("SENDER", default=None)
"""The sender of the current request, whose rights are those of its own token: another token of the same person may
have other rights."""


def session_sender() -> Sender | None:
    """Return the sender of the current request if its credential is a session's token, else ``None``."""
    sender = SENDER.get()
    return sender if sender is not None and sender.credential == "session" else None


class PeopleDirectory:
    """The people that a process knows, at most ``most``, across configurations.

    The people seen longest ago are dropped first. A request holds its person, which is then found in any case."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self.seen: SeenPeople | None = None
        """Stores the people that were seen; ``None`` without a store."""
        self._most = most
        self._known: dict[str, KnownPerson] = {}  # the last was seen last
        self._held: WeakValueDictionary[str, KnownPerson] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._held)

    def note(self, person: Person, rule: AdmitRule) -> KnownPerson:
        """Note the person of a token that was just checked, and return it as this process knows it.

        The groups are dropped, because they only select the rule, and a person may have hundreds."""
        person = attrs.evolve(person, groups=()) if person.groups else person
        known = self._known.pop(person.name, None)
        if known is None or known.rule is not rule or known.person != person:
            known = KnownPerson(person, rule)
        self._known[person.name] = self._held[person.name] = known
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return known

    def find(self, name: str) -> KnownPerson | None:
        """Return the person with this name, as last seen."""
        return self._held.get(name)


class PersonTable(dict[str, V], Generic[V]):
    """Values by client name: those of the file's clients, and a person's when it is read.

    ``find`` returns the person with a name, ``None`` for names that no person can have.
    ``make`` returns the value for a client, ``None`` for none. With ``is_own``, each person has a value of its own;
    otherwise all people of a rule share one, because it does not depend on the name."""

    def __init__(
        self,
        values: Mapping[str, V],
        find: Callable[[str], KnownPerson | None],
        make: Callable[[ClientKey], V | None],
        *,
        is_own: bool,
    ) -> None:
        super().__init__(values)
        self._find = find
        self._make = make
        self._is_own = is_own
        self._by_person: WeakKeyDictionary[KnownPerson, V | None] = WeakKeyDictionary()
        self._by_rule: dict[int, tuple[ClientKey, V | None]] = {}  # with the rule's client, so that its id stays taken

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a client or person, ``default`` without one."""
        if name in self:
            return self[name]
        found = self._of_person(name)
        return default if found is None else found

    def __missing__(self, name: str) -> V:
        if (found := self._of_person(name)) is None:
            raise KeyError(name)
        return found

    def _of_person(self, name: str) -> V | None:
        sender = SENDER.get()
        known = sender.known if sender is not None and sender.known.name == name else self._find(name)
        if known is None:
            return None
        return self._own_value(known) if self._is_own else self._rule_value(known.template)

    def _own_value(self, known: KnownPerson) -> V | None:
        try:
            return self._by_person[known]
        except KeyError:
            made = self._by_person[known] = self._make(attrs.evolve(known.template, name=known.name))
            return made

    def _rule_value(self, template: ClientKey) -> V | None:
        if (found := self._by_rule.get(id(template))) is None:
            found = self._by_rule[id(template)] = template, self._make(template)
        return found[1]
