"""Sign-ins of entries: who their requests are from, where no key says so."""

import importlib.util
import re
from collections.abc import Mapping
from typing import Final, TypeAlias, assert_never
from urllib.parse import urlsplit

from configfile.document import Path
from configfile.wording import one_of
from gateway.config.findings import Findings
from gateway.config.schema import RawAwsSignIn, RawAzureSignIn, RawEntry, RawGoogleSignIn
from gateway.config.settings import AwsSignIn, AzureSignIn, GoogleSignIn, SignIn
from providers.auth.credential import AwsKeys, SignInName
from providers.catalog.providers import CATALOG, Provider

MODULES: Final[Mapping[SignInName, str]] = {"aws": "botocore", "google": "google.auth", "azure": "azure.identity"}
"""The module that each needs. The extra has the name of the sign-in."""

_HOSTS: Final[Mapping[SignInName, str]] = {
    "aws": r"(?:[a-z0-9-]+\.)?bedrock(?:-[a-z]+)*\.[a-z0-9-]+\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
    "google": r"(?:[a-z0-9-]+-)?(?:aiplatform|generativelanguage)(?:\.[a-z0-9-]+\.rep)?\.googleapis\.com",
    "azure": r"[a-z0-9-]+\.(?:openai|services\.ai|cognitiveservices)\.azure\.(?:com|us|cn)",
}
"""The vendor's own hosts of models: of others below the same names some belong to its customers."""

_AZURE_SCOPES: Final = (
    (r".*\.services\.ai\.azure\.com", "https://ai.azure.com/.default"),
    (r".*\.azuredatabricks\.net", "2ff814a6-3304-4ab8-9cd0-cb1cd6f853ee/.default"),
    (r".*\.azure\.us", "https://cognitiveservices.azure.us/.default"),
    (r".*\.azure\.cn", "https://cognitiveservices.azure.cn/.default"),
)
_AZURE_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity; Databricks' id is that of
https://learn.microsoft.com/azure/databricks/dev-tools/auth/azure-sp"""

Given: TypeAlias = SignInName | RawAwsSignIn | RawGoogleSignIn | RawAzureSignIn
_ALONE: Final[Mapping[SignInName, RawAwsSignIn | RawGoogleSignIn | RawAzureSignIn]] = {
    "aws": RawAwsSignIn("aws"),
    "google": RawGoogleSignIn("google"),
    "azure": RawAzureSignIn("azure"),
}

_CREDENTIAL: Final = frozenset(("authorization", "api-key", "x-api-key"))


def build_sign_in(raw: RawEntry, path: Path, provider: Provider, findings: Findings) -> SignIn | None:
    """The sign-in of an entry: its own, else that of the provider's row where the entry has no credential and is asked
    at the vendor's own address. ``None`` where requests go with a key, or with nothing."""
    host = _host(raw, provider)
    if raw.sign_in is None:
        return _of_row(raw, provider, host, findings)
    place = (*path, "sign_in")
    if raw.sign_in == "none":
        return None
    for other, given in (("access_key", raw.access_key is not None), ("passthrough_auth", raw.passthrough_auth)):
        if given:
            findings.wrong(place, f"sign_in and {other} are both set", "a request has one credential: keep one of them")
            return None
    sign_in = _built(raw.sign_in, place, host, raw.region, findings)
    taken = _taken(provider)
    if provider.id in CATALOG and sign_in.type not in taken and (taken or not raw.base_url):
        expected = f"use {one_of(taken)}" if taken else "give it an access_key"
        findings.wrong(place, f"{provider.display_name} takes no sign-in of {sign_in.type}", expected)
    elif not is_installed(sign_in.type):
        findings.wrong(place, f"signing in at {sign_in.type} needs a package", f"pip install 'trigate[{sign_in.type}]'")
    return sign_in


def _taken(provider: Provider) -> tuple[SignInName, ...]:
    """The sign-ins that a provider takes, the usual one first."""
    return tuple(name for name in MODULES if name in provider.sign_in)


def is_installed(name: SignInName) -> bool:
    """Whether the extra of this name is installed."""
    try:
        return importlib.util.find_spec(MODULES[name]) is not None
    except ModuleNotFoundError:
        return False


def is_of_vendor(name: SignInName, host: str) -> bool:
    """Whether ``host`` is one of the vendor's whose sign-in has this name."""
    return re.fullmatch(_HOSTS[name], host.lower()) is not None


def _of_row(raw: RawEntry, provider: Provider, host: str, findings: Findings) -> SignIn | None:
    given = raw.access_key is not None or raw.passthrough_auth or {name.lower() for name in raw.headers} & _CREDENTIAL
    name = next(iter(_taken(provider)), None)
    if given or name is None or not is_of_vendor(name, host):
        return None
    if not is_installed(name):
        findings.warn(
            f"{raw.name or raw.model}: neither access_key nor sign_in, and signing in at {name} needs a package: "
            f"pip install 'trigate[{name}]'"
        )
        return None
    return _built(name, (), host, raw.region, findings)


def _host(raw: RawEntry, provider: Provider) -> str:
    return urlsplit(raw.base_url or provider.base_url or "").hostname or ""


def _built(raw: Given, place: Path, host: str, region: str | None, findings: Findings) -> SignIn:
    match raw:
        case str():
            return _built(_ALONE[raw], place, host, region, findings)
        case RawAwsSignIn():
            return _aws(raw, place, region, findings)
        case RawGoogleSignIn():
            return GoogleSignIn(raw.credentials_file, raw.scopes or GoogleSignIn().scopes)
        case RawAzureSignIn():
            return _azure(raw, place, host, findings)
        case _:
            assert_never(raw)


def _aws(raw: RawAwsSignIn, place: Path, region: str | None, findings: Findings) -> AwsSignIn:
    keys = None
    if raw.access_key_id is not None and raw.secret_access_key is not None:
        keys = AwsKeys(raw.access_key_id, raw.secret_access_key, raw.session_token)
    elif (raw.access_key_id, raw.secret_access_key, raw.session_token) != (None, None, None):
        findings.wrong(place, "half a key", "give access_key_id and secret_access_key together")
    if keys is not None and raw.profile is not None:
        findings.wrong(place, "profile and access_key_id are both set", "keep one of them")
    if raw.role_arn is None and (raw.external_id or raw.session_name):
        findings.wrong(place, "external_id and session_name belong to a role", "give role_arn, too")
    return AwsSignIn(
        raw.region or region, raw.profile, raw.role_arn, raw.external_id, raw.session_name, keys, raw.service
    )


def _azure(raw: RawAzureSignIn, place: Path, host: str, findings: Findings) -> AzureSignIn:
    if raw.client_secret is not None and (raw.tenant_id is None or raw.client_id is None):
        findings.wrong(place, "client_secret alone", "give tenant_id and client_id, too")
    if raw.client_secret is not None and raw.identity is not None:
        findings.wrong(place, "identity and client_secret are both set", "keep one of them")
    return AzureSignIn(
        identity="secret" if raw.client_secret is not None else raw.identity or "default",
        tenant_id=raw.tenant_id,
        client_id=raw.client_id,
        client_secret=raw.client_secret,
        scope=raw.scope or _azure_scope(host),
        authority=raw.authority,
    )


def _azure_scope(host: str) -> str:
    return next((scope for pattern, scope in _AZURE_SCOPES if re.fullmatch(pattern, host.lower())), _AZURE_SCOPE)
