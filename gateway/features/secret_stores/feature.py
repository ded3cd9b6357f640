"""The row of secret stores: secrets in Vault and in the stores of clouds."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.secret_stores.settings import SecretStoreKeys
from gateway.seams.feature import Feature, Keys


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` has secrets in stores."""
    return bool(config.stored_secrets)


FEATURE: Final = Feature(
    name="secret_stores",
    opening="gateway.features.secret_stores.keeping:open_stored_keys",
    is_wanted=is_wanted,
    keys=(Keys(Config, SecretStoreKeys),),
    build="gateway.features.secret_stores.settings:build_stores",
    secrets="gateway.features.secret_stores.keeping:SecretKeeper",
)
