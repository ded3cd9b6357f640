"""People by name, with the rights of the rule that admits them."""

from typing import Final

import attrs
import click

from gateway.commands.client_names import read_storage
from gateway.config.settings import Config
from gateway.features.people.records import Block, SeenPerson
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.settings import AdmitRule, TrustedIssuer, issuers_of
from gateway.features.people.store import PeopleStore
from gateway.stores.database import Database

_UNSEEN: Final = (
    "--key: the gateway has not seen {0} in the last 90 days, so its rule is unknown; `trigate people list` lists the "
    "people that it has seen"
)


def find_person(config: Config, name: str, names: list[str]) -> Config | None:
    """Return ``config`` with the person ``name`` as a client: a ``FindClient``.

    The state storage has the claims of the people that the gateway has seen."""
    issuer = next((one for one in issuers_of(config) if name.startswith(f"{one.name}:")), None)
    if issuer is None:
        return None
    client = _rule_of(config, issuer, name).client
    assert client is not None, "rules of a read configuration have one"
    return attrs.evolve(config, client_keys=(*config.client_keys, attrs.evolve(client, name=name)))


def _rule_of(config: Config, issuer: TrustedIssuer, name: str) -> AdmitRule:
    async def read(database: Database) -> tuple[SeenPerson | None, Block | None]:
        store = PeopleStore(database)
        return await store.person(name), await store.block_of(name)

    what = f"the rule of {name} is unknown"
    seen, block = read_storage(config, read, what) or (None, None)
    if block is not None:
        raise click.UsageError(f"--key: the access of {name} is blocked, so its requests get 401")
    if seen is not None:
        try:
            return RuleBook(issuers_of(config)).admit(seen.issuer, seen.claims)[1]
        except NotAdmitted as error:
            raise click.UsageError(f"--key: {error.info.message}") from None
    if len(issuer.admit) == 1:
        return issuer.admit[0]
    raise click.UsageError(_UNSEEN.format(name))
