"""The names of people that other features and commands use."""

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.people.oauth.browser import SignedInCallers
from gateway.features.people.opening import PeopleOfConfig, people_of
from gateway.features.people.settings import issuers_of


def signed_in_callers(config: Config, service: Service) -> SignedInCallers | None:
    """Return the callers who sign in at an issuer, ``None`` if the configuration has no such issuer."""
    if all(issuer.login is None for issuer in issuers_of(config)):
        return None
    return SignedInCallers(config, service)
