"""The sign-ins of entries: their derived values, and their checks."""

import re
from collections.abc import Mapping
from typing import Final, assert_never
from urllib.parse import urlsplit

import attrs

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.config.sign_ins import AZURE_SCOPE, SIGN_INS, AwsSignIn, AzureSignIn, GoogleSignIn, SignIn
from gateway.config_files.packages import SIGN_IN_MODULES, is_installed
from providers.auth.signer import SignInName
from providers.catalog import providers as catalog
from providers.catalog.provider import Provider

_CREDENTIAL_HEADERS: Final = frozenset(("authorization", "api-key", "x-api-key"))
"""The headers in which an entry may send a credential of its own."""

_HOSTS: Final[Mapping[SignInName, str]] = {
    "aws": r"(?:[a-z0-9-]+\.)?bedrock(?:-[a-z]+)*\.[a-z0-9-]+\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
    "google": r"(?:[a-z0-9-]+-)?(?:aiplatform|generativelanguage)(?:\.[a-z0-9-]+\.rep)?\.googleapis\.com",
    "azure": r"[a-z0-9-]+\.(?:openai|services\.ai|cognitiveservices)\.azure\.(?:com|us|cn)",
}
"""The vendors' own hosts for models: other hosts in their domains belong to customers."""

_AZURE_SCOPES: Final = (
    (r".*\.services\.ai\.azure\.com", "https://ai.azure.com/.default"),
    (r".*\.azuredatabricks\.net", "2ff814a6-3304-4ab8-9cd0-cb1cd6f853ee/.default"),
    (r".*\.azure\.us", "https://cognitiveservices.azure.us/.default"),
    (r".*\.azure\.cn", "https://cognitiveservices.azure.cn/.default"),
)
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity; Databricks' id is that of
https://learn.microsoft.com/azure/databricks/dev-tools/auth/azure-sp"""


def resolve_sign_in(item: ModelEntry, path: Path, findings: Findings) -> SignIn | None:
    """Return an entry's sign-in: its own, else the row's if the entry has no credential and uses the vendor's address.

    Return ``None`` if requests carry a key or nothing."""
    host = urlsplit(item.base_url or item.provider.base_url or "").hostname or ""
    written = item.written_sign_in
    if written is None:
        return _default_sign_in(item, host, findings)
    place = (*path, "sign_in")
    if isinstance(written, str):  # ``none``
        return None
    for other, given in (("access_key", item.key is not None), ("passthrough_auth", item.passthrough_auth)):
        if given:
            findings.wrong(
                place,
                f"sign_in and {other} are both set",
                "a request can have only one credential: remove one of them",
            )
            return None
    sign_in = _complete_sign_in(written, place, host, item.region, findings)
    taken = _accepted_sign_ins(item.provider)
    if item.provider.id in catalog.CATALOG and sign_in.type not in taken and (taken or not item.base_url):
        expected = f"use one of {', '.join(taken)}" if taken else "set access_key"
        findings.wrong(place, f"{item.provider.display_name} does not support the sign-in {sign_in.type}", expected)
    elif not is_installed(sign_in.type):
        findings.wrong(
            place, f"the sign-in {sign_in.type} needs another package", f"pip install 'trigate[{sign_in.type}]'"
        )
    return sign_in


def _accepted_sign_ins(provider: Provider) -> tuple[SignInName, ...]:
    """Return the sign-ins that a provider accepts, the usual one first."""
    return tuple(name for name in SIGN_IN_MODULES if name in provider.sign_in)


def _default_sign_in(item: ModelEntry, host: str, findings: Findings) -> SignIn | None:
    named = {name.lower() for name, _ in item.headers}
    name = next(iter(_accepted_sign_ins(item.provider)), None)
    if item.key is not None or item.passthrough_auth or named & _CREDENTIAL_HEADERS or name is None:
        return None
    if not is_of_vendor(name, host):
        return None
    if not is_installed(name):
        findings.warn(
            f"{item.name}: neither access_key nor sign_in is set, and the sign-in {name} needs another package: "
            f"pip install 'trigate[{name}]'"
        )
        return None
    return _complete_sign_in(SIGN_INS[name](), (), host, item.region, findings)


def is_of_vendor(name: SignInName, host: str) -> bool:
    """Return whether ``host`` belongs to the vendor of this sign-in."""
    return re.fullmatch(_HOSTS[name], host.lower()) is not None


def _complete_sign_in(sign_in: SignIn, place: Path, host: str, region: str | None, findings: Findings) -> SignIn:
    """Return a sign-in completed by the entry's ``host`` and ``region``, and report errors in it."""
    match sign_in:
        case AwsSignIn():
            _check_aws(sign_in, place, findings)
            return attrs.evolve(sign_in, region=sign_in.region or region)
        case GoogleSignIn():
            return attrs.evolve(sign_in, scopes=sign_in.scopes or GoogleSignIn().scopes)
        case AzureSignIn():
            _check_azure(sign_in, place, findings)
            return attrs.evolve(
                sign_in, scope=sign_in.scope if "scope" in findings.given_attributes(place) else _azure_scope(host)
            )
        case _:
            assert_never(sign_in)


def _check_aws(sign_in: AwsSignIn, place: Path, findings: Findings) -> None:
    given = (sign_in.access_key_id, sign_in.secret_access_key, sign_in.session_token)
    if sign_in.keys is None and given != (None, None, None):
        findings.wrong(place, "the key is incomplete", "set both access_key_id and secret_access_key")
    if sign_in.keys is not None and sign_in.profile is not None:
        findings.wrong(place, "profile and access_key_id are both set", "remove one of them")
    if sign_in.role_arn is None and (sign_in.external_id or sign_in.session_name):
        findings.wrong(place, "external_id and session_name need a role", "add role_arn")


def _check_azure(sign_in: AzureSignIn, place: Path, findings: Findings) -> None:
    if sign_in.client_secret is not None and (sign_in.tenant_id is None or sign_in.client_id is None):
        findings.wrong(place, "client_secret is not enough", "add tenant_id and client_id")
    if sign_in.client_secret is not None and sign_in.identity is not None:
        findings.wrong(place, "identity and client_secret are both set", "remove one of them")


def _azure_scope(host: str) -> str:
    return next((scope for pattern, scope in _AZURE_SCOPES if re.fullmatch(pattern, host.lower())), AZURE_SCOPE)
