"""The store of people for a call."""

from gateway.features.admin.interface import AdminCall
from gateway.features.people.store import PeopleStore


async def people_store(call: AdminCall) -> PeopleStore:
    """Return the store of people, with its tables and everyone whom this process has seen.

    Raises ``GatewayError`` (403) and ``Unavailable``."""
    return PeopleStore((await call.rights()).database)
