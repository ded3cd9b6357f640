"""Sign-ins of entries: identities that authenticate requests instead of keys."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, assert_never

import attrs

from configfile.document import Path
from configfile.keys import Kind, setting
from configfile.kinds import Secret, Url
from configfile.wording import Wrong, describe, nearest, one_of
from gateway.config.findings import Findings
from gateway.config.packages import is_present
from providers.auth.signer import BEARER_TOKEN, GOOGLE_TOKEN, AwsKeys, Signer, SignInName, secret_parts
from providers.auth.sigv4 import SigV4

MODULES: Final[Mapping[SignInName, str]] = {"aws": "botocore", "google": "google.auth", "azure": "azure.identity"}
"""The module required by each sign-in; the extra has the sign-in's name."""

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
_AZURE_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity; Databricks' id is that of
https://learn.microsoft.com/azure/databricks/dev-tools/auth/azure-sp"""


@attrs.frozen(repr=False)
class AwsSignIn:
    """An AWS sign-in: with keys, or the vendor's credential chain, from ``profile`` if set; then as the role
    ``role_arn``."""

    type: Literal["aws"] = setting("Needs `pip install 'trigate[aws]'`.", "aws", required=True)
    region: str | None = setting(
        "The region, unless the address or an ARN contains it.",
        None,
        shown="the entry's own, else from AWS's credential chain",
    )
    service: str | None = setting(
        "At your own address: the service to sign for, `bedrock` or `bedrock-mantle`.",
        None,
        shown="by the address",
    )
    profile: str | None = setting(
        "The profile in AWS's shared files.", None, shown="`AWS_PROFILE`, else from AWS's credential chain"
    )
    role_arn: str | None = setting("A role to assume with these credentials.", None)
    external_id: Secret | None = setting("The external id that the role requires.", None, secret=True)
    session_name: str | None = setting("The name of the role's sessions in AWS's logs.", None, shown="`trigate`")
    access_key_id: Secret | None = setting("An access key.", None, shown="from AWS's credential chain", secret=True)
    secret_access_key: Secret | None = setting("The secret of `access_key_id`.", None, secret=True)
    session_token: Secret | None = setting("The session token of a temporary `access_key_id`.", None, secret=True)

    @property
    def keys(self) -> AwsKeys | None:
        if self.access_key_id is None or self.secret_access_key is None:
            return None
        return AwsKeys(self.access_key_id, self.secret_access_key, self.session_token)

    @property
    def signer(self) -> Signer:
        return SigV4(self.region, self.service)

    @property
    def account(self) -> str:
        """The account name in seals: not secret, and equal for equal configurations."""
        return f"aws {self.role_arn or self.profile or self.access_key_id or ''}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (*secret_parts(self.keys), self.external_id)))

    def __str__(self) -> str:
        return self.type


@attrs.frozen(repr=False)
class GoogleSignIn:
    """A Google sign-in: with ``credentials_file``, or application-default credentials."""

    type: Literal["google"] = setting("Needs `pip install 'trigate[google]'`.", "google", required=True)
    credentials_file: str | None = setting(
        "The key of a service account, or the configuration of a workload identity pool.",
        None,
        shown="application-default credentials",
    )
    scopes: tuple[str, ...] = setting(
        "The scopes of the tokens.",
        ("https://www.googleapis.com/auth/cloud-platform",),
        shown="`https://www.googleapis.com/auth/cloud-platform`",
    )

    @property
    def signer(self) -> Signer:
        return GOOGLE_TOKEN

    @property
    def account(self) -> str:
        return f"google {self.credentials_file or ''}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return ()

    def __str__(self) -> str:
        return self.type


@attrs.frozen(repr=False)
class AzureSignIn:
    """An Azure sign-in: with an application's ``client_secret``, or with a managed or workload ``identity``.

    The identity ``default`` tries all methods."""

    type: Literal["azure"] = setting("Needs `pip install 'trigate[azure]'`.", "azure", required=True)
    identity: Literal["default", "managed", "workload"] | None = setting(
        "`managed` identity, `workload` for a Kubernetes pod, `default` for all methods of azure-identity.",
        None,
        shown="`default`",
    )
    tenant_id: str | None = setting(
        "The tenant of `client_secret` or of a workload identity.", None, shown="`AZURE_TENANT_ID`"
    )
    client_id: str | None = setting(
        "The application, or a user-assigned managed identity.",
        None,
        shown="`AZURE_CLIENT_ID`, else the system-assigned identity",
    )
    client_secret: Secret | None = setting(
        "An application's secret. Needs `tenant_id` and `client_id`.", None, secret=True
    )
    scope: str = setting(
        "The scope of the tokens.",
        _AZURE_SCOPE,
        shown="by the address: `https://cognitiveservices.azure.com/.default`, or `https://ai.azure.com/.default`",
    )
    authority: Url | None = setting(
        "The address of Entra, for clouds other than the public one.", None, shown="`AZURE_AUTHORITY_HOST`"
    )

    @property
    def signer(self) -> Signer:
        return BEARER_TOKEN

    @property
    def account(self) -> str:
        return f"azure {self.tenant_id or ''} {self.client_id or ''}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret,) if self.client_secret else ()

    def __str__(self) -> str:
        return self.type


@attrs.frozen(repr=False)
class _SignInType:
    """The key that distinguishes types of sign-ins."""

    type: Literal["aws", "google", "azure"] = setting("")


SignIn: TypeAlias = AwsSignIn | GoogleSignIn | AzureSignIn
"""The identity of an entry's requests.

``signer`` signs with its credentials; ``secrets`` are its own secrets, which no output may contain."""

NO_SIGN_IN: Final = "none"
"""The word for an entry that does not sign in although its provider's row does."""

_TYPES: Final[Mapping[Any, type[SignIn]]] = {"aws": AwsSignIn, "google": GoogleSignIn, "azure": AzureSignIn}
_NAMES: Final = (*_TYPES, NO_SIGN_IN)


def _pick_sign_in_type(value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get("type")
        return _TYPES.get(kind, _SignInType) if isinstance(kind, str) else _SignInType
    if isinstance(value, str):
        if value not in _NAMES:
            raise Wrong(describe(value), one_of(_NAMES), nearest(value, _NAMES))
        return None
    raise Wrong(describe(value), f"expected {', '.join(_TYPES)}, or a mapping such as {{type: aws, …}}")


SigningIn: TypeAlias = Annotated[
    SignIn | Literal["none"],
    Kind(
        "`aws`, `google`, `azure`, `none` or mapping",
        lambda value: _TYPES[value]() if value in _TYPES else value,
        pick=_pick_sign_in_type,
        parts=(Literal["aws", "google", "azure", "none"], AwsSignIn, GoogleSignIn, AzureSignIn),
    ),
]
"""A sign-in by name, or with its settings."""


def is_installed(name: SignInName) -> bool:
    """Return whether the extra for this sign-in is installed."""
    return is_present(MODULES[name])


def is_of_vendor(name: SignInName, host: str) -> bool:
    """Return whether ``host`` belongs to the vendor of this sign-in."""
    return re.fullmatch(_HOSTS[name], host.lower()) is not None


def usual_sign_in(name: SignInName) -> SignIn:
    """Return the sign-in with default settings."""
    return _TYPES[name]()


def complete_sign_in(sign_in: SignIn, place: Path, host: str, region: str | None, findings: Findings) -> SignIn:
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
    return next((scope for pattern, scope in _AZURE_SCOPES if re.fullmatch(pattern, host.lower())), _AZURE_SCOPE)
