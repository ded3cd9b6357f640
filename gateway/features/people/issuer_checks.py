"""Checks of the keys of people, and the client of each rule. Imported only for a configuration with such keys."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.keys import with_part
from configfile.wording import describe
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, is_storage_in_doubt
from gateway.config_files.building import Building
from gateway.config_files.client_access import AccessNames, build_client_rights
from gateway.config_files.packages import is_present
from gateway.features.people.discovery import url_problem
from gateway.features.people.managed_settings import command_warnings
from gateway.features.people.settings import SIGN_IN_PARAMETERS, AdmitRule, TrustedIssuer, people_keys
from gateway.http.urls import is_loopback

_LIBRARY: Final = "jwt"

_NEVER_REQUESTED: Final = "write the identity provider's URL: the gateway would not request this one"

_NO_ISSUER_HEADERS: Final = ("cookie", "host", "x-api-key", "x-goog-api-key", "x-trigate-key")
"""Headers with another meaning here."""

_CI_SUBJECT: Final = r"[^:/]+:[^:/]+[:/].*"

_PUBLIC: Final[Mapping[str, Mapping[str, str]]] = {
    "https://token.actions.githubusercontent.com": {
        "repository": r"[^/]+/.*",
        "repository_owner": "",
        "repository_id": "",
        "repository_owner_id": "",
        "enterprise": "",
        "enterprise_id": "",
        "sub": _CI_SUBJECT,
    },
    "https://gitlab.com": {
        "project_path": r"[^/]+/.*",
        "namespace_path": r"[^/]+/.*",
        "project_id": "",
        "namespace_id": "",
        "user_id": "",
        "user_login": "",
        "sub": _CI_SUBJECT,
    },
    "https://accounts.google.com": {"hd": "", "email": "", "sub": ""},
    "accounts.google.com": {"hd": "", "email": "", "sub": ""},
    "https://agent.buildkite.com": {
        "organization_slug": "",
        "organization_id": "",
        "pipeline_id": "",
        "sub": _CI_SUBJECT,
    },
    "https://app.terraform.io": {
        "terraform_organization_id": "",
        "terraform_organization_name": "",
        "terraform_workspace_id": "",
        "sub": r"organization:[^:]+:.*",
    },
    "https://appleid.apple.com": {"email": "", "sub": ""},
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": {"email": "", "oid": "", "sub": ""},
}
"""Issuers that sign tokens for everyone. For each, the claims that identify an owner, a repository, a domain or a
subject, with a pattern for the text before the first ``*``; without a pattern the text has no ``*``, except that
``*@DOMAIN`` is permitted for ``email``. PyPI's trusted publishers have the same claims
(https://docs.pypi.org/trusted-publishers/)."""


def build_people(config: Config, building: Building) -> Config:
    """Return ``config`` with its issuers and the client of each rule, and report errors in them."""
    findings, keys = building.findings, people_keys(config)
    if keys.issuers or "issuers" in findings.given_attributes(()):
        issuers = _build_issuers(config, building.names, findings)
        keys = attrs.evolve(keys, issuers=issuers)
        clients = (rule.client for issuer in issuers for rule in issuer.admit if rule.client is not None)
        config = attrs.evolve(config, rule_clients=(*config.rule_clients, *clients))
        if config.state_storage is not None:
            served = ("issuers", "only `trigate serve` follows the sessions and blocks of people")
            config = attrs.evolve(config, only_served=(*config.only_served, served))
    config = with_part(config, keys)
    for warning in command_warnings(config):
        findings.warn(warning)
    return config


def _build_issuers(config: Config, names: AccessNames, findings: Findings) -> tuple[TrustedIssuer, ...]:
    keys = people_keys(config)
    if not keys.issuers:
        findings.wrong(("issuers",), "the list is empty", "list at least one issuer, or remove it")
    if not is_present(_LIBRARY):
        findings.wrong(("issuers",), "PyJWT is not installed", "run pip install 'trigate[identity]'")
    made: dict[str, TrustedIssuer] = {}
    advice = "add `name`, `issuer`, `audience` and `admit`"
    for path, item in findings.present_items(keys.issuers, ("issuers",), advice):
        check_issuer_name(item, path, made, config, findings)
        _check_tokens(item, path, config, findings)
        _check_passed_headers(item, names, findings)
        _check_login(item, path, config, findings)
        made.setdefault(item.name, attrs.evolve(item, admit=tuple(_build_rules(item, path, names, findings))))
    if keys.sessions.token > keys.sessions.longest:
        findings.wrong(("sessions", "token"), "it is longer than `longest`", "set a shorter time")
    return tuple(made.values())


def _check_tokens(item: TrustedIssuer, path: Path, config: Config, findings: Findings) -> None:
    """Report values with which the gateway would accept wrong tokens, or none."""
    for key in ("audience", "algorithms"):
        if getattr(item, key) == ():
            findings.wrong((*path, key), "the list is empty", "list at least one value")
    if any(not value.strip() for value in item.audience):
        findings.wrong((*path, "audience"), "a value is empty", "write the `aud` of tokens for this gateway")
    if not isinstance(item.issuer, Unresolved):
        _check_address(item, path, config, findings)
    if item.claims.name == "email":
        findings.warn(
            f"issuers: {item.name} identifies people by email, and e-mail addresses change hands: use `sub` if the "
            "issuer does not guarantee otherwise"
        )
    if item.header in _NO_ISSUER_HEADERS:
        findings.wrong((*path, "header"), f"{item.header} has another meaning", "use the header of your proxy")


def _check_passed_headers(item: TrustedIssuer, names: AccessNames, findings: Findings) -> None:
    """Report entries that would send the issuer's tokens to a provider."""
    for entry in names.entries.made:
        for passed in entry.pass_headers:
            if passed == item.header or (passed.endswith("*") and item.header.startswith(passed[:-1])):
                found = f"{passed} would pass the tokens of the issuer {item.name} to the provider"
                findings.wrong((*names.entries.paths[entry.name], "pass_headers"), found, "remove it from the list")


def _check_address(item: TrustedIssuer, path: Path, config: Config, findings: Findings) -> None:
    """Report an issuer that is not the one that it seems, or whose keys others could replace on the way."""
    if not _check_parts(item.issuer, (*path, "issuer"), findings):
        return
    public = config.public_url
    if public is not None and item.issuer.rstrip("/") == str(public).rstrip("/"):
        found = "it equals `public_url`, whose tokens the gateway signs itself"
        findings.wrong((*path, "issuer"), found, "write the address of the identity provider")
    is_fetched = item.jwks is None or item.login is not None
    if item.jwks is None and not is_protected(item.issuer):
        findings.wrong((*path, "issuer"), describe(item.issuer), "use an https:// URL, or set `jwks`")
    elif is_fetched and (problem := url_problem(item.issuer, may_be_local=True)) is not None:
        findings.wrong((*path, "issuer"), problem, _NEVER_REQUESTED)
    if not isinstance(item.jwks, str) or isinstance(item.jwks, Unresolved):
        return
    if not is_protected(item.jwks):
        findings.wrong((*path, "jwks"), "others on the network could change its responses", "use an https:// URL")
    elif (problem := url_problem(item.jwks, may_be_local=True)) is not None:
        findings.wrong((*path, "jwks"), problem, _NEVER_REQUESTED)


def _check_parts(issuer: str, path: Path, findings: Findings) -> bool:
    """Report parts that the URL of an issuer cannot have (OpenID Connect Discovery 1.0, section 3).

    Return whether it has none. They may be credentials, so no message repeats them."""
    try:
        parts = urlsplit(issuer)
    except ValueError:
        return True  # reported as a wrong URL
    if not parts.netloc:
        return True  # another text, which is only compared
    present = {"user name": "@" in parts.netloc, "query": "?" in issuer, "fragment": "#" in issuer}
    for name, is_there in present.items():
        if is_there:
            advice = "write the exact `iss` of its tokens; set `jwks` if its keys are at another URL"
            findings.wrong(path, f"an issuer's URL has no {name}", advice)
    return not any(present.values())


def is_protected(url: str) -> bool:
    """Return whether others on the network cannot change what ``url`` sends: it has TLS, or is on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _check_login(item: TrustedIssuer, path: Path, config: Config, findings: Findings) -> None:
    """Report what a sign-in needs and the file does not have."""
    if item.login is None:
        return
    place = (*path, "login")
    url = config.public_url
    if url is None and ("public_url",) not in findings.faulty:
        findings.wrong(place, "sign-in needs `public_url`", "set the URL at which browsers reach the gateway")
    is_known = url is not None and not isinstance(url, Unresolved)
    if url is not None and is_known and not is_protected(url) and findings.first("public_url"):
        advice = "use https://; plain HTTP is permitted only on this machine"
        findings.wrong(("public_url",), "sign-in would cross the network unencrypted", advice)
    if "signing_key" not in findings.given_attributes(()) and ("signing_key",) not in findings.faulty:
        findings.wrong(place, "sign-in needs `signing_key`", "create one with `openssl rand -base64 32`")
    storage = config.state_storage
    if (storage is None or storage.type not in KEEPING_KEYS) and not is_storage_in_doubt(storage, findings):
        findings.wrong(
            place, "sign-in needs a `state_storage` that survives restarts", "set its type to sqlite or postgres"
        )
    if "openid" not in item.login.scopes:
        findings.wrong((*place, "scopes"), "`openid` is missing", "add it: without it the issuer sends no ID token")
    for name, advice in SIGN_IN_PARAMETERS.items():
        if name in item.login.params:
            findings.wrong((*place, "params", name), "the gateway sets this parameter itself", advice)


# Rules


def _build_rules(issuer: TrustedIssuer, path: Path, names: AccessNames, findings: Findings) -> Iterator[AdmitRule]:
    """Yield the rules of ``issuer`` with their clients, and report errors in them."""
    path = (*path, "admit")
    if not issuer.admit and path not in findings.faulty:
        findings.wrong(path, "the list is empty", "list at least one rule, or nobody is admitted")
    for place, item in findings.present_items(issuer.admit, path, "add `when`"):
        _check_when(item, place, place[-1] == len(issuer.admit) - 1, findings)
        _check_public(issuer, item, place, findings)
        yield attrs.evolve(item, client=_build_rule_client(issuer, item, place, names, findings))


def _build_rule_client(
    issuer: TrustedIssuer, rule: AdmitRule, path: Path, names: AccessNames, findings: Findings
) -> ClientKey:
    """Return the client with the rights of ``rule``: with each key that both have."""
    rights = {name: getattr(rule, name) for name in attrs.fields_dict(type(rule)).keys() & _KEYS_OF_CLIENTS}
    client = ClientKey(name=f"{issuer.name}:*", source="rule", declared_in="issuers", **rights)
    return build_client_rights(client, path, names, findings)


_KEYS_OF_CLIENTS: Final = attrs.fields_dict(ClientKey).keys()


def _check_when(rule: AdmitRule, path: Path, is_last: bool, findings: Findings) -> None:
    """Report claims that would match everyone, or no one, by mistake."""
    if not rule.when and not is_last:
        findings.wrong((*path, "when"), "it admits everyone, so later rules never apply", "move this rule to the end")
    for claim, values in rule.when.items():
        place = (*path, "when", claim)
        if not claim.strip() or claim == "/":
            findings.wrong((*path, "when"), "the name of a claim is empty", "write the name of a claim")
        if not values:
            findings.wrong(place, "the list is empty", "list at least one value, or remove the claim")
        elif not all(value.strip() for value in values):
            findings.wrong(place, "the text is empty", "write a value, or `*` for any")


def _check_public(issuer: TrustedIssuer, rule: AdmitRule, path: Path, findings: Findings) -> None:
    """Report a rule by which everyone with an account at a public issuer would be admitted."""
    identifying = _PUBLIC.get(issuer.issuer.rstrip("/"))
    if identifying is None:
        return
    for claim, pattern in identifying.items():
        values = rule.when.get(claim) or rule.when.get(f"/{claim}")
        if values and all(_is_specific(value, claim, pattern) for value in values):
            return
    claims = ", ".join(identifying)
    found = f"everyone can get a token of {issuer.issuer}, and this rule does not restrict the owner"
    findings.wrong((*path, "when"), found, f"add one of {claims}; a `*` may only follow the owner")


def _is_specific(value: str, claim: str, pattern: str) -> bool:
    """Return whether ``value`` matches one owner's tokens only."""
    if isinstance(value, Unresolved) or "*" not in value:
        return True
    if claim == "email":
        return re.fullmatch(r"\*@[^*@]+", value) is not None
    return bool(pattern) and re.fullmatch(pattern, value.partition("*")[0], re.DOTALL) is not None


_GROUP: Final = "group"
"""The word before a group's name where a client's name is also permitted."""


def check_issuer_name(
    item: TrustedIssuer, path: Path, others: Mapping[str, TrustedIssuer], config: Config, findings: Findings
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
    groups: Sequence[ClientGroup | None] = config.client_groups
    present = (group for group in groups if group is not None)
    named = (*(("client", one.name) for one in config.client_keys), *(("group", one.name) for one in present))
    for kind, name in named:
        if name.lower().startswith(f"{item.name}:".lower()):
            found = f"the {kind} {name} has a name of this issuer's people"
            findings.wrong(place, found, f"give the {kind} or the issuer another name")
