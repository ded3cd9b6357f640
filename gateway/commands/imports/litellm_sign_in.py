"""Converts the sign-in of LiteLLM's web pages into a draft of ``issuers``, which the operator must complete.

It is a comment of the new file: its rules give people rights that LiteLLM did not give them at the gateway. LiteLLM's
members are those of ``SSOConfig`` (https://docs.litellm.ai/docs/proxy/admin_ui_sso)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from gateway.commands.imports.imported_secrets import SecretNames
from gateway.commands.imports.imported_values import escape_dollars
from gateway.commands.imports.litellm_database import Tables
from gateway.commands.imports.litellm_keys import admins_of
from gateway.commands.imports.litellm_rows import SIGN_IN, TEAMS, USERS, read_mapping, read_text
from gateway.commands.imports.litellm_secrets import Decryption, Undecryptable
from gateway.commands.imports.result import Result

_ISSUERS: Final[Mapping[str, str]] = {
    "microsoft": "https://login.microsoftonline.com/{microsoft_tenant}/v2.0",
    "google": "https://accounts.google.com",
    "generic": "{generic_authorization_endpoint}",
}
"""The URL of the issuer for the start of LiteLLM's members."""

_AUTHORIZATION: Final = re.compile(r"(?:/oauth2)?/v1/authorize$|/protocol/openid-connect/auth$|/authorize$")
"""The path that servers add to their issuer's URL, such as Okta, Keycloak and Auth0."""

_ROLES: Final[Mapping[str, str]] = {
    "proxy_admin": "admin", "proxy_admin_viewer": "auditor", "internal_user": "user", "internal_user_viewer": "user",
}  # fmt: skip

_CHOICE: Final = (
    "who may sign in: complete the draft of `issuers` in the comments of the new file, and compare its `issuer` with "
    "`iss` of a token (docs/people.md)"
)
_TITLE: Final = "LiteLLM's sign-in as a draft: check each line, then remove the # (docs/people.md)"


def draft_issuers(tables: Tables, decryption: Decryption, result: Result) -> None:
    """Add the lines of the draft to ``result``, none without a known provider."""
    settings = _decrypt_settings(tables.get(SIGN_IN, ()), decryption)
    rules = [*_rules(settings, result.groups_of_teams, tables)]
    issuers = [
        _issuer(kind, settings, rules, result.secrets)
        for kind in _ISSUERS
        if read_text(settings.get(f"{kind}_client_id"))
    ]
    if not issuers:
        return
    content = {
        "public_url": read_text(settings.get("proxy_base_url")) or "https://llm.example.com",
        "signing_key": "$SIGNING_KEY",
        "state_storage": {"type": "sqlite", "path": "/var/lib/trigate/state.sqlite"},
        "issuers": issuers,
    }
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    result.draft = [_TITLE, *text.splitlines()]
    result.choices.append(_CHOICE)


def _decrypt_settings(rows: Sequence[Mapping[str, Any]], decryption: Decryption) -> dict[str, Any]:
    """Return the settings in ``rows``; those that cannot be decrypted have their names as values."""
    found: dict[str, Any] = {}
    for row in rows:
        for name, value in read_mapping(row.get("sso_settings")).items():
            try:
                found[name] = decryption.decrypt(value)
            except Undecryptable:
                found[name] = "" if name.endswith("_secret") else name.upper()
    return found


def _issuer(kind: str, settings: Mapping[str, Any], rules: Sequence[Any], secrets: SecretNames) -> dict[str, Any]:
    texts = {name: escape_dollars(read_text(value)) for name, value in settings.items()}
    found = re.sub(r"\{(\w+)\}", lambda match: texts.get(match[1]) or match[1].upper(), _ISSUERS[kind])
    client_id, secret = texts[f"{kind}_client_id"], read_text(settings.get(f"{kind}_client_secret"))
    claim = read_text(read_mapping(settings.get("role_mappings")).get("group_claim"))
    login = {"client_id": client_id, "scopes": (texts.get("generic_scope") or "openid email").split()}
    if secret:
        login["client_secret"] = f"${secrets.variable(f'{kind} client secret', secret)}"
    return {
        "name": kind,
        "issuer": _AUTHORIZATION.sub("", found),
        "audience": [client_id],
        **({"claims": {"groups": _pointer(claim)}} if claim not in ("", "groups") else {}),
        "login": login,
        "admit": [*rules],
    }


def _rules(settings: Mapping[str, Any], groups: Mapping[str, str], tables: Tables) -> Iterator[dict[str, Any]]:
    """Yield the rules: administrators first, because the first match decides."""
    mappings = read_mapping(read_mapping(settings.get("role_mappings")).get("roles"))
    by_role = [(ours, mappings[role]) for role, ours in _ROLES.items() if mappings.get(role)]
    yield from ({"when": {"groups": found}, "role": role} for role, found in by_role if role != "user")
    addresses = {read_text(row.get("user_id")): read_text(row.get("user_email")) for row in tables.get(USERS, ())}
    for row in tables.get(TEAMS, ()):
        group = groups.get(read_text(row.get("team_id")))
        leads = [addresses[user] for user in admins_of(row) if addresses.get(user)]
        if group is not None and leads:
            yield {"when": {"email": leads}, "group": group, "role": "lead"}
    claim = read_text(read_mapping(settings.get("team_mappings")).get("team_ids_jwt_field"))
    if claim:
        yield from ({"when": {_pointer(claim): team}, "group": group} for team, group in groups.items())
    yield from ({"when": {"groups": found}} for role, found in by_role if role == "user")
    if not (claim and groups) and not any(role == "user" for role, _ in by_role):
        domain = read_text(settings.get("user_email")).rpartition("@")[2] or "example.com"
        yield {"when": {"email": f"*@{domain}"}}


def _pointer(claim: str) -> str:
    """Return a claim within others as a JSON pointer; LiteLLM separates them by dots."""
    return f"/{claim.replace('.', '/')}" if "." in claim else claim
