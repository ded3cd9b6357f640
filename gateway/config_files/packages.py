"""Packages of trigate's extras that settings need."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from gateway.config.findings import Findings
from providers.auth.signer import SignInName

_MODULES: Final[Mapping[str, str]] = {"postgres": "psycopg", "redis": "coredis", "encryption": "cryptography"}
"""A module that each extra installs."""

SIGN_IN_MODULES: Final[Mapping[SignInName, str]] = {
    "aws": "botocore",
    "google": "google.auth",
    "azure": "azure.identity",
}
"""The module required by each sign-in; the extra has the sign-in's name."""


def is_present(module: str) -> bool:
    """Return whether ``module`` could be imported, without importing more than the packages around it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def warn_of_missing(key: str, extra: str, findings: Findings) -> None:
    """Warn if the package of ``extra``, which the setting ``key`` needs, is not installed here.

    It is no mistake in the file, which may be for another machine."""
    if (module := _MODULES.get(extra)) is not None and not is_present(module):
        findings.warn(
            f"{key}: {extra} needs another package, and trigate serve does not start without it: "
            f"pip install 'trigate[{extra}]'"
        )


def is_installed(name: SignInName) -> bool:
    """Return whether the extra for this sign-in is installed."""
    return is_present(SIGN_IN_MODULES[name])
