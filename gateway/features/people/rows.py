"""The tables of people: a class of records for each."""

from typing import Final

from gateway.features.people.records import Block, DeviceGrant, IssuerSession, OwnKey, PersonSession, SeenPerson
from gateway.stores.record_tables import RecordTable

PEOPLE: Final = RecordTable("people", SeenPerson, ("name",), {"group": "client_group"}, ("claims",))
BLOCKS: Final = RecordTable("people_blocks", Block, ("name",), {"by": "made_by"})
OWN_KEYS: Final = RecordTable("own_keys", OwnKey, ("person", "name"))
ISSUER_SESSIONS: Final = RecordTable("issuer_sessions", IssuerSession, ("id",), json=("claims",))
SESSIONS: Final = RecordTable("person_sessions", PersonSession, ("id",))
GRANTS: Final = RecordTable("device_grants", DeviceGrant, ("device_code",))
