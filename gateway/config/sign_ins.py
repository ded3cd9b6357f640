"""Sign-ins of entries: identities that authenticate requests instead of keys."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import Secret, Url
from configfile.wording import Wrong, describe, nearest, one_of
from providers.auth.signer import BEARER_TOKEN, GOOGLE_TOKEN, AwsKeys, Signer, secret_parts
from providers.auth.sigv4 import SigV4

AZURE_SCOPE: Final = "https://cognitiveservices.azure.com/.default"


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
        AZURE_SCOPE,
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

SIGN_INS: Final[Mapping[Any, type[SignIn]]] = {"aws": AwsSignIn, "google": GoogleSignIn, "azure": AzureSignIn}
_NAMES: Final = (*SIGN_INS, NO_SIGN_IN)


def _pick_sign_in_type(value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get("type")
        return SIGN_INS.get(kind, _SignInType) if isinstance(kind, str) else _SignInType
    if isinstance(value, str):
        if value not in _NAMES:
            raise Wrong(describe(value), one_of(_NAMES), nearest(value, _NAMES))
        return None
    raise Wrong(describe(value), f"expected {', '.join(SIGN_INS)}, or a mapping such as {{type: aws, …}}")


SigningIn: TypeAlias = Annotated[
    SignIn | Literal["none"],
    Kind(
        "`aws`, `google`, `azure`, `none` or mapping",
        lambda value: SIGN_INS[value]() if value in SIGN_INS else value,
        pick=_pick_sign_in_type,
        parts=(Literal["aws", "google", "azure", "none"], AwsSignIn, GoogleSignIn, AzureSignIn),
    ),
]
"""A sign-in by name, or with its settings."""
