"""The row of secret stores: secrets in Vault and in the stores of clouds, for ``{vault: PLACE}`` and others in a
configuration."""

from pathlib import Path as PosixFile
from typing import TYPE_CHECKING, Final

import attrs

from configfile.keys import part_of, setting
from configfile.kinds import Secret, Url, Wait
from configfile.stored_secrets import STORES
from gateway.config.kinds import FilePath, NeededPath
from gateway.config.parts import Instead
from gateway.config.settings import Config
from gateway.config_files.packages import is_installed
from gateway.seams.feature import Feature, Keys
from providers.auth.signer import SignInName

if TYPE_CHECKING:
    from gateway.config_files.building import Building


CLOUDS: Final[dict[str, SignInName]] = {"aws_secret": "aws", "google_secret": "google", "azure_secret": "azure"}
"""The sign-ins for the stores of clouds."""

SHORTEST: Final = 1.0
"""Seconds between two reads."""


POD_TOKEN: Final = PosixFile("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""https://kubernetes.io/docs/concepts/security/service-accounts/"""


@attrs.frozen(repr=False)
class VaultSettings:
    """The mapping ``vault``: a server of Vault or OpenBao, with ``role`` or ``token``."""

    url: Url = setting("The address of Vault or OpenBao, such as `https://vault:8200`.", "", required=True)
    role: str | None = setting("The role at `auth_path`, where the gateway signs in with its pod's token.", None)
    token: Secret | None = setting("A token instead of a role, renewed if it is renewable.", None, secret=True)
    auth_path: str = setting("The path of the Kubernetes sign-in.", "kubernetes")
    pod_token: NeededPath = setting("The file with the pod's token.", POD_TOKEN, shown="the usual path in a pod")
    namespace: str | None = setting("The namespace.", None)
    ca: FilePath | None = setting("The certificates that verify the server.", None, shown="the system's")


@attrs.frozen(repr=False)
class SecretStoreSettings:
    """The mapping ``secret_stores``. The stores of clouds need no settings: they use the machine's identity."""

    vault: VaultSettings | None = setting("Vault or OpenBao.", None)
    refresh: Wait = setting("The time between two reads of the secrets, at least `1s`.", 300.0)


@attrs.frozen
class SecretStoreKeys:
    """The keys of the root."""

    secret_stores: SecretStoreSettings = setting(
        "The stores of secrets, for `{vault: …}` and others.",
        SecretStoreSettings(),
        shown="none",
        restart=True,
    )


def build_stores(config: Config, building: "Building") -> Config:
    """Report stores that secrets need and that are not set up."""
    settings, findings = part_of(config, SecretStoreKeys).secret_stores, building.findings
    vault, place = settings.vault, ("secret_stores", "vault")
    if vault is not None and (not vault.role) == (vault.token is None):
        found = "neither role nor token is set" if not vault.role else "role and token are both set"
        findings.wrong(place, found, "set role, to sign in with the token of the pod, or token")
    if settings.refresh < SHORTEST:
        findings.wrong(("secret_stores", "refresh"), "too short", "expected at least 1s")
    for path, secret in building.stored:
        name = STORES[secret.store].name
        if secret.store == "vault":
            if vault is None and place not in findings.faulty:
                findings.wrong(path, f"a secret in {name}, but secret_stores.vault is not set", "add url and role")
        elif not is_installed(cloud := CLOUDS[secret.store]):
            findings.wrong(path, f"{name} needs another package", f"pip install 'trigate[{cloud}]'")
    return config


ADVICE: Final = (
    Instead("write `secret_stores: {vault: {url: https://HOST:8200, role: ROLE}}`", "secrets vault", (Config,)),
)

FEATURE: Final = Feature(
    name="secret_stores",
    opening="gateway.features.secret_stores.keeping:open_stored_keys",
    is_wanted=lambda config: bool(config.stored_secrets),
    keys=(Keys(Config, SecretStoreKeys),),
    build="gateway.features.secret_stores.feature:build_stores",
    secrets="gateway.features.secret_stores.keeping:SecretKeeper",
    advice="gateway.features.secret_stores.feature:ADVICE",
)
