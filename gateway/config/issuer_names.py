"""Checks of the names of issuers: people of two issuers, clients and groups must remain distinct."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from configfile.document import Path
from configfile.wording import describe
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.issuers import TrustedIssuer

_GROUP: Final = "group"
"""The word before a group's name where a client's name is also permitted."""


def check_issuer_name(
    item: TrustedIssuer,
    path: Path,
    others: Mapping[str, TrustedIssuer],
    clients: Sequence[ClientKey],
    groups: Sequence[ClientGroup | None],
    findings: Findings,
) -> None:
    """Report a name or an ``iss`` that another issuer, a client or a group has."""
    place = (*path, "name")
    for name in others:
        if name == item.name:
            findings.wrong(place, f"another issuer has the name {name}", "give each issuer its own name")
        elif name.lower() == item.name.lower():
            found = f"another issuer has the name {name}, and readers would confuse their people"
            findings.wrong(place, found, "use names that differ in more than case")
    if item.name.lower() == _GROUP:
        findings.wrong(place, "`group:` means a client group elsewhere", "give the issuer another name")
    if any(other.issuer == item.issuer for other in others.values()):
        found = f"another issuer has the same `issuer` {describe(item.issuer)}"
        findings.wrong((*path, "issuer"), found, "combine both into one item with all rules")
    for kind, name in _names_of_others(clients, groups):
        if name.lower().startswith(f"{item.name}:".lower()):
            found = f"the {kind} {name} has a name of this issuer's people"
            findings.wrong(place, found, f"give the {kind} or the issuer another name")


def _names_of_others(clients: Sequence[ClientKey], groups: Sequence[ClientGroup | None]) -> Iterator[tuple[str, str]]:
    """Yield the kind and the name of each client and group."""
    yield from (("client", client.name) for client in clients)
    yield from (("group", group.name) for group in groups if group is not None)


def warn_of_merged_metrics(issuers: Sequence[TrustedIssuer], clients: Sequence[ClientKey], findings: Findings) -> None:
    """Warn of names under which metrics would count people together with others.

    Metrics count a person as its group, or without one as its issuer."""
    rules = [(issuer.name, rule.group_name) for issuer in issuers for rule in issuer.admit]
    groups = {group for _, group in rules if group is not None}
    alone = {issuer for issuer, group in rules if group is None}
    for name in sorted(groups & alone):
        findings.warn(
            f"issuers: metrics count people of the issuer {name} without a group, and people of the group {name}, as "
            "one client: rename the issuer or the group"
        )
    for client in clients:
        if client.name in groups | alone:
            kind = "group" if client.name in groups else "issuer"
            findings.warn(
                f"client_keys: metrics count the client {client.name} and people of the {kind} {client.name} as one "
                f"client: rename the client or the {kind}"
            )
