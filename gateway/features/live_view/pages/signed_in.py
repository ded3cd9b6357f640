"""The callers of the live view and of the console who sign in at an issuer."""

from typing import TYPE_CHECKING

from gateway.config.settings import Config
from gateway.exchange.service import Service

if TYPE_CHECKING:
    from gateway.features.people.oauth.signed_in import SignedInCallers


def signed_in_callers(config: Config, service: Service) -> "SignedInCallers | None":
    """Return the callers who sign in at an issuer, ``None`` if the configuration has no such issuer."""
    if all(issuer.login is None for issuer in config.issuers):
        return None
    from gateway.features.people.oauth.signed_in import SignedInCallers  # imported only where it is needed

    return SignedInCallers(config, service)
