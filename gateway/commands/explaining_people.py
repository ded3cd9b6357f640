"""People in ``trigate explain``: the client with the rights of the rule that admits a person."""

from typing import Final

import attrs
import click
import trio

from configfile.document import sentence
from gateway.config.clients import ClientKey
from gateway.config.issuers import AdmitRule, TrustedIssuer
from gateway.config.loading import Config
from gateway.open_store import open_people_store
from gateway.people.records import SeenPerson
from gateway.people.rules import NotAdmitted, RuleBook
from gateway.stores.store import Unavailable

_UNSEEN: Final = (
    "--key: the gateway has not seen {0} in the last 90 days, so its rule is unknown; `trigate people list` lists the "
    "people that it has seen"
)


def client_of_person(config: Config, name: str) -> ClientKey | None:
    """Return the person ``name`` as a client, ``None`` if no issuer of ``config`` has such people.

    The state storage has the claims of the people that the gateway has seen. Raises ``click.UsageError``."""
    issuer = next((one for one in config.issuers if name.startswith(f"{one.name}:")), None)
    if issuer is None:
        return None
    client = _rule_of(config, issuer, name).client
    assert client is not None, "rules of a read configuration have one"
    return attrs.evolve(client, name=name)


def _rule_of(config: Config, issuer: TrustedIssuer, name: str) -> AdmitRule:
    try:
        seen = trio.run(_seen_person, config, name)
    except Unavailable as error:
        raise click.UsageError(f"--key: the rule of {name} is unknown: {sentence(str(error))}") from None
    if seen is not None:
        try:
            return RuleBook(config.issuers).admit(seen.issuer, seen.claims)[1]
        except NotAdmitted as error:
            raise click.UsageError(f"--key: {error.info.message}") from None
    if len(issuer.admit) == 1:
        return issuer.admit[0]
    raise click.UsageError(_UNSEEN.format(name))


async def _seen_person(config: Config, name: str) -> SeenPerson | None:
    kept = config.state_storage
    if kept is None or (kept.path is not None and not kept.path.exists()):  # opening it would create the file
        return None
    store = open_people_store(config)
    if store is None:
        return None
    try:
        return await store.person(name)
    finally:
        await store.aclose()
