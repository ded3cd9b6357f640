"""The rules of a configuration: which claims admit a person, and with which rights."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.access.refused_keys import KeyRefused
from gateway.features.people.records import Person, readable_text
from gateway.features.people.settings import AdmitRule, TrustedIssuer

LONGEST_NAME: Final = 128
"""Characters of the claim that names a person."""

MOST_GROUPS: Final = 500
MOST_LISTED: Final = 20
"""Names of claims in an error."""

GROUPS: Final = "groups"
_LEFT_OUT: Final = "_claim_names"
"""The member in which Entra lists the claims that it left out, because a person has too many groups
(https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim)."""


class NotAdmitted(KeyRefused):
    """The error (403) for a valid token that no rule admits, or whose name cannot be a client's."""

    def __init__(self, message: str) -> None:
        headers = (("x-should-retry", "false"),)
        super().__init__(message, "not_admitted", kind="permission", headers=headers)


class RuleBook:
    """The rules of the issuers of one configuration."""

    def __init__(self, issuers: Iterable[TrustedIssuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}

    def admit(self, issuer_name: str, claims: Mapping[str, Any]) -> tuple[Person, AdmitRule]:
        """Return the person with ``claims``, which a token of the issuer named ``issuer_name`` proves, and its rule.

        Raises ``NotAdmitted`` (403), also if the configuration has no such issuer any more."""
        issuer = self._issuers.get(issuer_name)
        if issuer is None:
            raise NotAdmitted(f"the issuer {issuer_name} is no longer one of the gateway's `issuers`: sign in again")
        found = next((i for i, rule in enumerate(issuer.admit) if _matches(rule, issuer, claims)), None)
        if found is None:
            raise NotAdmitted(_no_rule_text(issuer, claims))
        rule = issuer.admit[found]
        person = Person(
            name=f"{issuer.name}:{_subject_in(issuer, claims)}",
            label=_readable_text(claim_at(claims, issuer.claims.label)),
            issuer=issuer.name,
            rule=found,
            group=rule.group_name,
            role=rule.role,
            email=_readable_text(claim_at(claims, "email")),
            full_name=_readable_text(claim_at(claims, "name")),
            groups=tuple(_texts(claim_at(claims, issuer.claims.groups)))[:MOST_GROUPS],
        )
        return person, rule

    def present_rule(self, person: Person, rule: AdmitRule) -> AdmitRule | None:
        """Return the rule that replaces ``rule`` of an earlier configuration: the one with the same conditions."""
        issuer = self._issuers.get(person.issuer)
        return next((one for one in (() if issuer is None else issuer.admit) if one.when == rule.when), None)

    def needed_claims(self, issuer_name: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of ``claims`` that decides about a person, to be stored with a session or key of its own.

        The part has the same effect as ``claims`` under the present rules."""
        issuer = self._issuers[issuer_name]
        names = (issuer.claims.name, issuer.claims.label, issuer.claims.groups, "email", "email_verified", "name")
        paths = (*names, _LEFT_OUT, *(path for rule in issuer.admit for path in rule.when))
        members = dict.fromkeys(_first_member(path) for path in paths)
        return {name: claims[name] for name in members if name in claims}

    def find(self, issuer_name: str, claims: Mapping[str, Any]) -> Person | NotAdmitted:
        """Return the person with ``claims``, or the error that ``admit`` would raise."""
        try:
            return self.admit(issuer_name, claims)[0]
        except NotAdmitted as error:
            return error

    def name_in(self, issuer_name: str, claims: Mapping[str, Any]) -> str | None:
        """Return the name of the person with ``claims``, whether or not a rule admits it; ``None`` without one."""
        issuer = self._issuers.get(issuer_name)
        try:
            return None if issuer is None else f"{issuer.name}:{_subject_in(issuer, claims)}"
        except NotAdmitted:
            return None

    def shortened_claims(self, issuer_name: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``claims`` with only those items of lists that a rule can match: a person may have 1,000 groups.

        The result has the same effect under the present rules."""
        issuer = self._issuers[issuer_name]
        values: dict[str, list[str]] = {}
        whole = {_first_member(path) for path in (issuer.claims.name, issuer.claims.label)}
        for rule in issuer.admit:
            for path, alternatives in rule.when.items():
                name = issuer.claims.groups if path == GROUPS else path
                if name.lstrip("/") == _first_member(name):
                    values.setdefault(_first_member(name), []).extend(alternatives)
                else:
                    whole.add(_first_member(name))  # a pointer into the claim
        return {
            name: _items_that_fit(value, values.get(name, ()))
            if isinstance(value, list) and name not in whole
            else value
            for name, value in claims.items()
        }

    def is_person_name(self, name: str) -> bool:
        """Return whether ``name`` can only be the name of a person."""
        return name.partition(":")[0] in self._issuers and ":" in name


def required_claims(issuer: TrustedIssuer) -> frozenset[str]:
    """Return the top-level claims that the issuer's rules and the person's names come from."""
    names = issuer.claims
    rules = (names.groups if path == GROUPS else path for rule in issuer.admit for path in rule.when)
    return frozenset(_first_member(path) for path in (names.name, names.label, *rules))


def issue_time(claims: Mapping[str, Any], now: float) -> float:
    """Return the Unix time at which an issuer made a token, at most ``now``, and 0 if the token does not state it."""
    found = claims.get("iat")
    return min(float(found), now) if isinstance(found, int | float) else 0.0


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim with the name ``path``, or at this JSON pointer (RFC 6901); ``None`` without one."""
    if not path.startswith("/") or path in claims:
        return claims.get(path)
    found: Any = claims
    for step in path[1:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]{0,4}", name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _first_member(path: str) -> str:
    """Return the member of the claims that has ``path``."""
    if not path.startswith("/"):
        return path
    return path[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")


def _matches(rule: AdmitRule, issuer: TrustedIssuer, claims: Mapping[str, Any]) -> bool:
    """Return whether all claims of ``rule`` match."""
    return all(
        any(_matches_pattern(text, value) for text in _texts(_claim_of(issuer, claims, path)) for value in values)
        for path, values in rule.when.items()
    )


def _claim_of(issuer: TrustedIssuer, claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim that ``path`` means in a rule. An e-mail address that the issuer did not verify is none."""
    if path in ("email", "/email") and _is_unverified(claims):
        return None
    return claim_at(claims, issuer.claims.groups if path == GROUPS else path)


def _is_unverified(claims: Mapping[str, Any]) -> bool:
    """Return whether the issuer states that the e-mail address is not verified; some write the word as text."""
    return claims.get("email_verified") in (False, "false")


def _texts(value: Any) -> Iterator[str]:
    """Yield the values of a claim as text: its own, or those of its items. Objects and empty texts are none."""
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str) and item:
            yield item
        elif isinstance(item, int):
            yield str(item).lower()


def _matches_pattern(text: str, pattern: str) -> bool:
    """Return whether ``text`` equals ``pattern``, in which ``*`` matches any characters.

    The time is proportional to the lengths, whatever the token contains."""
    first, *parts = pattern.split("*")
    if not parts:
        return text == pattern
    *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _items_that_fit(items: list[Any], patterns: Collection[str]) -> list[Any]:
    """Return the items of a claim that one of ``patterns`` matches."""
    return [item for item in items if any(_matches_pattern(text, one) for text in _texts(item) for one in patterns)]


def _subject_in(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> str:
    """Return the claim that names a person. Raises ``NotAdmitted``."""
    path = issuer.claims.name
    value = claim_at(claims, path)
    if not isinstance(value, str) or not value.strip():
        raise NotAdmitted(
            f"the token of the issuer {issuer.name} has no text in the claim {path}, which identifies the person"
        )
    if len(value) > LONGEST_NAME or not value.isprintable():
        what = "is too long" if len(value) > LONGEST_NAME else "has control characters"
        raise NotAdmitted(f"the claim {path} of the token {what}, so it cannot be the name of a client")
    if path in ("email", "/email") and _is_unverified(claims):
        raise NotAdmitted(f"the issuer {issuer.name} has not verified the e-mail address of this token")
    return value


def _no_rule_text(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> str:
    """Return the message for a token that no rule matches: the names of the claims, without values."""
    paths = list(dict.fromkeys(path for rule in issuer.admit for path in rule.when))
    found = [path for path in paths if next(_texts(_claim_of(issuer, claims, path)), None) is not None]
    absent = [path for path in paths if path not in found]
    said = f"no rule of the issuer {issuer.name} admits this token"
    said += f"; the gateway read the claims {_spell_list(found)}" if found else ""
    said += f"; the token does not have {_spell_list(absent)}" if absent else ""
    if absent and _has_left_out_groups(issuer, claims):
        said += (
            "; the issuer left out the groups (`_claim_names`), because the person has too many: configure it to send "
            "only groups that are assigned to the application"
        )
    return f"{said}. Ask the gateway's operator for access"


def _spell_list(paths: list[str]) -> str:
    more = f" and {len(paths) - MOST_LISTED} more" if len(paths) > MOST_LISTED else ""
    return ", ".join(paths[:MOST_LISTED]) + more


def _has_left_out_groups(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> bool:
    names = claims.get(_LEFT_OUT)
    left_out = isinstance(names, Mapping) and _first_member(issuer.claims.groups) in names
    return left_out or claims.get("hasgroups") in (True, "true")


def _readable_text(value: Any) -> str | None:
    """Return a text for readers, ``None`` without any."""
    return (readable_text(value).strip() or None) if isinstance(value, str) else None
