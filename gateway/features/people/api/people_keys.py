"""The keys that people have made for themselves, in the list of all keys. Each has the name ``PERSON/KEY``."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from configfile.wording import spell_time, time_text
from gateway.access.refused_keys import KeyRefused
from gateway.config.clients import ClientKey
from gateway.features.admin.interface import AdminAnswer, AdminCall, in_thread, not_permitted, row_of, unknown_key
from gateway.features.people.opening import people_of
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import people_store
from gateway.stores.errors import Unavailable

if TYPE_CHECKING:
    from gateway.features.people.followed import FollowedPeople, PersonKey
    from gateway.features.people.gate import PeopleGate

_ADMINS_ONLY: Final = "only an admin may revoke a key that a person has made; the person may delete it"
_BLOCKED: Final = "the person is blocked"


@attrs.frozen(eq=False, repr=False)
class KeysOfPeople:
    """The own keys of all people by their names in the list."""

    call: AdminCall
    keys: Mapping[str, "PersonKey"]

    def names(self, group: str | None) -> list[str]:
        """Return the names of the keys that the caller sees, all or those of ``group``."""
        if group is None and self.call.caller.sees_all:
            return list(self.keys)
        groups = {name: self._client(name)[0].group_name for name in self.keys}
        return [
            name for name, own in groups.items() if self.call.caller.sees_group(own) and (group is None or own == group)
        ]

    def sees(self, name: str) -> bool:
        """Return whether there is a key ``name`` that the caller sees."""
        caller = self.call.caller
        return name in self.keys and (caller.sees_all or caller.sees_group(self._client(name)[0].group_name))

    def creation_of(self, name: str) -> tuple[str, str]:
        """Return the text of when a key was made, and by whom."""
        return self.keys[name].made, self.keys[name].person

    def has_state(self, name: str, state: str) -> bool:
        """Return whether a key has this ``state`` of its row."""
        has_ended = self.keys[name].until <= self.call.now
        if state != "refused" and has_ended != (state == "ended"):
            return False
        return (self._rights(name)[1] is not None) == (state == "refused")

    async def rows(self, names: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        """Return the data of some keys by name, without their last uses while the storage is unavailable."""
        used: Mapping[str, float | None] = {}
        if names and self.call.admin.keys is not None and not self.call.admin.keys.stale:
            with contextlib.suppress(Unavailable):
                used = await (await people_store(self.call)).key_uses([self.keys[one].digest.hex() for one in names])
        return await in_thread(
            lambda: {name: self._row(name, used.get(self.keys[name].digest.hex())) for name in names}
        )

    def _row(self, name: str, used: float | None) -> dict[str, Any]:
        """Return the data of one key, with the rights that its person has now."""
        key, (client, refusal) = self.keys[name], self._rights(name)
        until = datetime.fromtimestamp(int(key.until), UTC)
        row = row_of(attrs.evolve(client, name=name, until=until), {})
        return {
            **row,
            **({} if refusal is None else {"state": "refused", "why": refusal}),
            "from": "person",
            "keys": [{"until": None if until is None else spell_time(until), "ended": row["state"] == "ended"}],
            "added": key.made,
            "by": key.person,
            "person": key.person,
            "label": key.label or None,
            "last_used": None if used is None else time_text(used),
        }

    def _rights(self, name: str) -> tuple[ClientKey, str | None]:
        """Return the client with the rights of a key's person, and why gateways refuse the key, if they do."""
        client, refusal = self._client(name)
        followed = _followed_people(self.call)
        assert followed is not None, "there are own keys"
        return client, refusal or (_BLOCKED if followed.is_blocked(self.keys[name].person) else None)

    def _client(self, name: str) -> tuple[ClientKey, str | None]:
        """Return the client with the rights of a key's person, and why its claims are refused, if they are."""
        key, people = self.keys[name], people_of(self.call.service.opened.features)
        assert people is not None, "there are own keys"
        known = people.rights_of_keys.get(key.digest)
        if known is None or known[0] is not key:
            people.rights_of_keys[key.digest] = known = key, *_read_rights(people.gate, key, name)
        return known[1:]


def _read_rights(gate: "PeopleGate", key: "PersonKey", name: str) -> tuple[ClientKey, str | None]:
    try:
        client = gate.rules.admit(key.issuer, key.claims)[1].client
    except KeyRefused as error:
        return ClientKey(name, models=(), only=(), source="rule"), error.info.message
    assert client is not None, "rules of a read configuration have one"
    try:
        gate.check_same_person(key.issuer, key.claims, key.person)
    except KeyRefused as error:
        return client, error.info.message
    return client, None


def _followed_people(call: AdminCall) -> "FollowedPeople | None":
    keys = call.admin.keys
    return None if keys is None or not issuers_of(call.config) else cast("FollowedPeople | None", keys.other_rows)


async def read_people_keys(call: AdminCall) -> KeysOfPeople:
    """Return the own keys of all people, as last read while the storage is unavailable."""
    followed = _followed_people(call)
    if followed is None:
        return KeysOfPeople(call, {})
    if call.admin.keys is not None and not call.admin.keys.stale:
        await call.apply_rights()
    own_keys = list(followed.own_keys)
    return KeysOfPeople(call, await in_thread(lambda: {f"{key.person}/{key.name}": key for key in own_keys}))


async def delete_people_key(call: AdminCall, name: str) -> AdminAnswer:
    """Revoke one key that a person has made. Raises ``GatewayError`` (403, 404)."""
    person, _, key = name.rpartition("/")
    if call.caller.role != "admin":
        if (await read_people_keys(call)).sees(name):
            raise not_permitted(_ADMINS_ONLY, "own_key")
        raise unknown_key(name)
    store = await people_store(call)
    if not await store.remove_own_key(person, key, call.audit_entry(204)):
        raise unknown_key(name)
    await call.apply_rights()
    return AdminAnswer(status=204)
