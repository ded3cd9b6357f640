"""Converts LiteLLM's settings for tokens of identity providers into ``issuers``.

https://docs.litellm.ai/docs/proxy/jwt_auth_reference and https://docs.litellm.ai/docs/proxy/token_auth"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.commands.imports.imported_values import escape_dollars, free_name, is_switched_off, mapping_of, text_of
from gateway.commands.imports.litellm_keys import Team
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result

SETTINGS: Final = frozenset(("general_settings.enable_jwt_auth", "general_settings.litellm_jwtauth"))
"""The settings that this module reads."""

_CLAIMS: Final[Mapping[str, str]] = {"user_id_jwt_field": "name", "user_email_jwt_field": "label"}
_TEAMS: Final = ("team_ids_jwt_field", "team_id_jwt_field")
_DOMAIN: Final = "user_allowed_email_domain"
_READ: Final = frozenset(
    (*_CLAIMS, *_TEAMS, _DOMAIN, "issuer", "audience", "issuers", "user_id_upsert", "public_key_ttl",
     "enforce_team_based_model_access")
)  # fmt: skip
_NO_TEAMS: Final = (
    Group.PROTECTION,
    "the database has the teams and users that are admitted: import it with --database, or write `admit` rules under "
    "`issuers`",
)


def add_issuers(general: Any, teams: Sequence[Team], result: Result) -> bool:
    """Add the issuers in ``general_settings``, and return whether the settings were read."""
    settings = mapping_of(general)
    given = settings.get("litellm_jwtauth")
    if settings.get("enable_jwt_auth") is not True or not isinstance(given or {}, dict):
        return False
    common = dict(given or {})
    listed = common.get("issuers")
    taken: set[str] = set()
    for own in listed if isinstance(listed, list) else [None]:
        if own is not None and not isinstance(own, dict):
            continue
        common |= {param: value for param, value in (own or {}).items() if param not in _READ}
        _add_issuer({**common, **(own or {})}, own, teams, taken, result)
    for param in common:
        if param not in _READ and not is_switched_off(common[param]):
            why = "`issuers` has no such setting: check which people the rules of `admit` let in"
            result.lose(f"litellm_jwtauth.{param}", (Group.PROTECTION, why))
    return True


def _add_issuer(settings: Mapping[str, Any], own: Any, teams: Sequence[Team], taken: set[str], result: Result) -> None:
    """Add one issuer, or report why its tokens are not admitted."""
    issuer, audience = text_of(settings.get("issuer")), settings.get("audience")
    if own is None:
        why = (
            "they are in JWT_PUBLIC_KEY_URL and other variables: write an item of `issuers` with `jwks` and the issuer"
        )
        result.lose("the tokens of enable_jwt_auth", (Group.PROTECTION, why))
        return
    if issuer is None or issuer.startswith("$") or not audience:
        why = "its issuer or audience is not in the file, and trigate checks both: write an item of `issuers`"
        result.lose("an issuer in litellm_jwtauth", (Group.PROTECTION, why))
        return
    claim = next((str(settings[name]) for name in _TEAMS if settings.get(name)), None)
    rules = [*_rules(claim, settings, teams, result)]
    what = f"the tokens of {issuer}"
    if not rules:
        result.lose(what, _NO_TEAMS)
        return
    claims = {name: _pointer(str(settings[param])) for param, name in _CLAIMS.items() if settings.get(param)}
    claims |= {} if claim is None else {"groups": _pointer(claim)}
    audiences = [*filter(None, map(text_of, audience if isinstance(audience, list) else [audience]))]
    place = {"name": _unused_name(issuer, taken), "issuer": issuer, "audience": audiences}
    result.issuers.append({**place, **({"claims": claims} if claims else {}), "admit": rules})
    result.remarks.append(f"{what}: install trigate[identity]; `role: admin` in a rule of `admit` makes administrators")


def _rules(
    claim: str | None, settings: Mapping[str, Any], teams: Sequence[Team], result: Result
) -> Iterator[dict[str, Any]]:
    """Yield the rules of an issuer: one for each team, or one for all people."""
    domain = text_of(settings.get(_DOMAIN))
    email = _pointer(str(settings.get("user_email_jwt_field") or "email"))
    more = {} if domain is None else {email: f"*@{domain}"}
    groups = {group["name"] for group in result.client_groups}
    for team in teams if claim is not None else ():
        if escape_dollars(team.name) in groups and not team.blocked:
            yield {"when": {_pointer(claim or ""): escape_dollars(team.id), **more}, "group": escape_dollars(team.name)}
    is_open = settings.get("user_id_upsert") is True or domain is not None  # otherwise only users of the database
    if claim is None and is_open and not settings.get("enforce_team_based_model_access"):
        yield {"when": more}


def _pointer(claim: str) -> str:
    """Return LiteLLM's path of a claim, with dots, as a JSON pointer."""
    return f"/{claim.replace('.', '/')}" if "." in claim and "/" not in claim else escape_dollars(claim)


def _unused_name(issuer: str, taken: set[str]) -> str:
    try:
        host = urlsplit(issuer).hostname or "jwt"
    except ValueError:  # the check of the new file reports the address
        host = "jwt"
    plain = re.sub(r"[^a-z0-9-]+", "-", host.lower()).strip("-") or "jwt"
    taken.add(name := free_name(plain, taken))
    return name
