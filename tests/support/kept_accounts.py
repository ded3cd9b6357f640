"""Accounts that keep objects, from a configuration of a few entries."""

from gateway.config_files.loading import from_mapping
from gateway.kept_objects.accounts import Account, accounts_of


def account_with_owners() -> Account:
    """Return an account at OpenAI with several owners."""
    entry = {"model": "openai/gpt-5", "access_key": "sk-of-the-account"}
    config = from_mapping({"version": "v0.4.0", "model_providers": [entry]})
    (account,) = accounts_of(config.entries, (), has_several_owners=True)
    return account
