"""The keys of people: the issuers of their tokens, and the rules by which these admit them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs

from configfile.keys import Kind, Shape, part_of, parts, setting
from configfile.kinds import (
    FILE,
    HeaderName,
    Natural,
    Secret,
    Url,
    Wait,
    any_of,
    number_shape,
    read_amount,
    read_text,
    spell_duration,
    text_matching,
    text_shape,
    word_reader,
)
from configfile.secret_files import secret_path
from configfile.wording import Wrong, describe
from gateway.config.allowances import RateLimits
from gateway.config.amounts import Budget
from gateway.config.clients import ClientKey, Role
from gateway.config.kinds import FilePath, NeededText, ShortName, check_path, list_of
from gateway.config.limits import ClientLimits
from gateway.config.parts import ClientRights
from gateway.config.settings import Config

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""The signature algorithms of tokens that an issuer may use."""

LONGEST_SKEW: Final = 300.0

IssuerId: TypeAlias = Annotated[
    str, text_matching(r"[!-~]{1,500}", "the `iss` of its tokens, such as https://example.okta.com/oauth2/default")
]
"""The exact ``iss`` of tokens; for most issuers a URL."""

ClaimPath: TypeAlias = Annotated[
    str, text_matching(r"[^\0]{1,200}", "the name of a claim, or a JSON pointer such as /realm_access/roles")
]


def _read_algorithm(value: Any) -> str:
    if isinstance(value, str) and value[:2].upper() == "HS":
        raise Wrong(describe(value), f"tokens with a shared secret are never accepted: use {', '.join(ALGORITHMS)}")
    return word_reader(ALGORITHMS)(value)


Algorithm: TypeAlias = Annotated[str, Kind("text", _read_algorithm, any_of({"enum": list(ALGORITHMS)}))]

_SKEW_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}


def _read_skew(value: Any) -> float:
    expected = "expected a duration of at most 5m, such as 60s"
    seconds = read_amount(value, _SKEW_UNITS, expected)
    if seconds > LONGEST_SKEW:
        raise Wrong(describe(value), expected)
    return seconds


Skew: TypeAlias = Annotated[
    float,
    Kind(
        "duration, at most `5m`",
        _read_skew,
        any_of(number_shape(0), text_shape(r"[0-9]{1,12}(?:\.[0-9]{1,9})?\s*(?:[mM]?[sS]|[mM])")),
        spell=spell_duration,
    ),
]


def _read_file_of_secret(value: Any) -> Path:
    """Return the path in ``{file: PATH}``, whose file is read at each use."""
    path = secret_path(value)
    if not path:
        raise Wrong("not a file", "expected {file: PATH}")
    check_path(str(path))
    return Path(str(path))  # a path keeps its text, which must not be ``Expanded``


TokenFile: TypeAlias = Annotated[Path, Kind("file", _read_file_of_secret, FILE)]
"""A file with a token that its owner replaces, so that it is read again for each use."""


def _pick_key_set(value: Any) -> Any:
    return TokenFile if isinstance(value, dict) else Url


KeySetPlace: TypeAlias = Annotated[str | Path, Kind("URL or file", pick=_pick_key_set, parts=(Url, TokenFile))]
"""The URL of a key set, or a ``Path``."""


def _read_alternative(value: Any) -> str:
    if isinstance(value, bool | int):
        return str(value).lower()
    return read_text(value)


def _read_alternatives(value: Any) -> tuple[str, ...]:
    """Return the accepted values of a claim: one, or each of a list. ``*`` matches any characters."""
    return tuple(map(_read_alternative, value if isinstance(value, list) else [value]))


_ONE_VALUE: Final[tuple[Shape, ...]] = ({"type": "string", "minLength": 1}, {"type": "boolean"}, {"type": "integer"})

ClaimValues: TypeAlias = Annotated[
    tuple[str, ...],
    Kind(
        "text, or a list",
        _read_alternatives,
        {"anyOf": [*_ONE_VALUE, {"type": "array", "items": {"anyOf": [*_ONE_VALUE]}, "minItems": 1}]},
        takes_text=True,
    ),
]


@attrs.frozen(repr=False)
class ClaimNames:
    """The claims that the gateway reads from an issuer's tokens."""

    name: ClaimPath = setting("The claim that identifies a person: its name, or a JSON pointer.", "sub")
    label: ClaimPath = setting("A claim for readers of reports.", "email")
    groups: ClaimPath = setting("The claim that `groups` means in `when` and in session tokens.", "groups")


@attrs.frozen(repr=False)
class IssuerLogin:
    """The registration of the gateway at an issuer, for sign-in with a browser or a device code."""

    holds_secrets = True

    client_id: NeededText = setting("The client id that the issuer gave the gateway.")
    client_secret: Secret | None = setting("The client's secret.", None, shown="none: a public client", secret=True)
    scopes: tuple[str, ...] = setting(
        "The scopes to request. With `offline_access`, sessions are renewed without another sign-in.",
        ("openid", "email"),
        shown="`[openid, email]`",
        shape={"minItems": 1},
    )
    params: Mapping[str, str] = setting(
        "More parameters of the sign-in request, such as `{access_type: offline}`.",
        factory=dict,
    )


_REMOVE_IT: Final = "remove it"
_NO_OBJECT: Final = "remove it: a request object would replace the parameters that the gateway sends"

SIGN_IN_PARAMETERS: Final[Mapping[str, str]] = {
    "client_id": "set `client_id` of `login` instead",
    "client_secret": "set `client_secret` of `login` instead: a browser would see this one",
    "scope": "set `scopes` of `login` instead",
    "redirect_uri": "remove it: browsers return to `/oauth/callback` at `public_url`",
    "response_type": _REMOVE_IT,
    "response_mode": _REMOVE_IT,
    "state": _REMOVE_IT,
    "nonce": _REMOVE_IT,
    "code_challenge": _REMOVE_IT,
    "code_challenge_method": _REMOVE_IT,
    "request": _NO_OBJECT,
    "request_uri": _NO_OBJECT,
}
"""The parameters of a sign-in request that `params` cannot have, with the advice for each."""


@attrs.frozen(repr=False)
class IssuerFetch:
    """The way to fetch an issuer's keys."""

    ca: FilePath | None = setting("The root certificates for the server of its keys.", None, shown="as for providers")
    token: TokenFile | None = setting(
        "`{file: PATH}` with a bearer token, read again for each fetch, as Kubernetes requires.", None
    )


@attrs.frozen(repr=False)
class OwnKeyLimits:
    """The keys that a person may make for itself."""

    most: Natural = setting("The largest number of keys that a person may make through `/me/keys`.")
    longest: Wait = setting("Their longest lifetime.")
    renew: Wait = setting(
        "The time since the person's last sign-in after which the keys ask for the next one.",
        30 * 86400.0,
        shown="`30d`",
    )


@attrs.frozen(repr=False)
class AdmitRule(ClientRights):
    """A rule that admits people: the claims that they need, and their rights.

    ``client`` is a client with these rights and a pattern as name (``okta:*``), from which the gateway makes each
    person's."""

    when: Mapping[str, ClaimValues] = setting(
        "The claims that a token must have, all of them: by name or JSON pointer, each with a value or alternatives, "
        "with `*`. Lists in tokens match by any item. `{}`, only in the last rule, admits everyone."
    )
    group_name: str | None = setting("One of the [client_groups](#client_groups).", None, name="group")
    models: tuple[str, ...] | None = setting(
        "The models that they may use, as a client's.", None, shown="all, also with a `role`", absent="all"
    )
    only: tuple[str, ...] | None = setting("As a client's.", None, shown="all", shape={"minItems": 1}, absent="all")
    ratelimits: RateLimits = setting("As a client's.", factory=RateLimits, shown="no limit")
    budgets: tuple[Budget, ...] = setting("As a client's.", ())
    limits: ClientLimits = setting("As a client's.", ClientLimits(), shown="`limits.per_client`")
    role: Role = setting("As a client's.", "user")
    own_keys: OwnKeyLimits | None = setting(
        "The keys that people may make through `/me/keys`.",
        None,
    )
    claude_code: Mapping[str, Any] | None = setting(
        "Claude Code's managed settings for these people, in addition to the root's.", None
    )
    parts: Mapping[type, Any] = parts()
    client: ClientKey | None = None


AdmitRules: TypeAlias = Annotated[tuple[AdmitRule, ...], list_of(AdmitRule)]


@attrs.frozen(repr=False)
class TrustedIssuer:
    """An issuer of tokens whose people are clients: an identity provider, a cluster or a CI service.

    ``audience`` and ``algorithms`` are all acceptable values. ``jwks`` is the place of its keys, ``None`` for the one
    in its discovery document."""

    name: ShortName = setting("The unique name. Its people are clients named `NAME:` and their claim.", compared=False)
    issuer: IssuerId = setting("The exact `iss` of its tokens. Its discovery document is below this URL.")
    audience: tuple[str, ...] = setting(
        "The accepted values of `aud`. A token needs one of them.", shape={"minItems": 1}
    )
    admit: AdmitRules = setting(
        "The rules that admit people. The first match decides.", shape={"minItems": 1}, numbered=True
    )
    claims: ClaimNames = setting(
        "The claims that the gateway reads.",
        ClaimNames(),
        shown="`{name: sub, label: email, groups: groups}`",
    )
    login: IssuerLogin | None = setting(
        "Sign-in with a browser or a device code. Needs `public_url`, `signing_key` and a `state_storage` of `sqlite` "
        "or `postgres`.",
        None,
    )
    jwks: KeySetPlace | None = setting(
        "The URL of its key set, or `{file: PATH}`.", None, shown="from its discovery document", absent="by discovery"
    )
    fetch: IssuerFetch = setting("The way to fetch its keys.", IssuerFetch(), shown="none")
    algorithms: tuple[Algorithm, ...] = setting(
        "The accepted signature algorithms.", ALGORITHMS, shown=f"`{', '.join(ALGORITHMS)}`", shape={"minItems": 1}
    )
    clock_skew: Skew = setting("The tolerated difference of its clock.", 60.0)
    header: HeaderName = setting(
        "The header with its tokens, such as `cf-access-jwt-assertion`. It reaches no provider.",
        "authorization",
    )


@attrs.frozen(repr=False)
class SessionSettings:
    """The lifetimes of sessions."""

    token: Wait = setting("The lifetime of the token of a person's [session](people-reference.md#sessions).", 3600.0)
    longest: Wait = setting("The longest time until the person must sign in again.", 30 * 86400.0)


Issuers: TypeAlias = Annotated[tuple[TrustedIssuer, ...], list_of(TrustedIssuer)]


@attrs.frozen
class PeopleKeys:
    """The keys of the root."""

    issuers: Issuers = setting(
        "The [issuers](people.md) whose tokens admit people. Every request then needs a key or token.",
        (),
        shape={"minItems": 1},
        items="issuer",
        admits=True,
    )
    sessions: SessionSettings = setting(
        "The lifetimes of people's [sessions](people-reference.md#sessions).", SessionSettings()
    )
    limit_message: str | None = setting(
        "Text after the message of an exhausted budget, such as the address of a form. Only sessions on Messages get "
        "it.",
        None,
    )
    claude_code: Mapping[str, Any] | None = setting(
        "The [managed settings](people-reference.md#claude-code) that Claude Code receives after `/login`. Rules add "
        "theirs.",
        None,
    )


def people_keys(config: Config) -> PeopleKeys:
    """Return the keys of people at the root of ``config``."""
    return part_of(config, PeopleKeys)


def issuers_of(config: Config) -> tuple[TrustedIssuer, ...]:
    """Return the issuers of ``config``."""
    return people_keys(config).issuers
