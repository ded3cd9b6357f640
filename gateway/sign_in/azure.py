"""Tokens of Azure."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import azure.identity

from gateway.config.sign_ins import AzureSignIn
from gateway.sign_in.refreshed import Fetched

_AZURE_TIMEOUTS: Final = {"retry_total": 2, "connection_timeout": 5, "read_timeout": 10}


def fetch_azure(sign_in: AzureSignIn) -> Fetched:
    """Fetch a new token from Azure, without a cache. Blocks."""
    with _azure_credential(sign_in) as identity:
        token = identity.get_token(sign_in.scope)
    return Fetched(token.token, float(token.expires_on))


def _azure_credential(sign_in: AzureSignIn) -> Any:
    library: Any = azure.identity
    # The public cloud's servers need not confirm a configured authority.
    where = {} if sign_in.authority is None else {"authority": sign_in.authority, "disable_instance_discovery": True}
    more: dict[str, Any] = {**_AZURE_TIMEOUTS, **where}
    client = {} if sign_in.client_id is None else {"client_id": sign_in.client_id}
    tenant = {} if sign_in.tenant_id is None else {"tenant_id": sign_in.tenant_id}
    if sign_in.client_secret is not None:
        return library.ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret, **more)
    match sign_in.identity or "default":
        case "managed":
            return library.ManagedIdentityCredential(**client, **_AZURE_TIMEOUTS)
        case "workload":
            return library.WorkloadIdentityCredential(**client, **tenant, **more)
        case "default":
            own = {} if sign_in.client_id is None else {"managed_identity_client_id": sign_in.client_id}
            theirs = {} if sign_in.tenant_id is None else {"workload_identity_tenant_id": sign_in.tenant_id}
            return library.DefaultAzureCredential(**own, **theirs, **more)


def azure_tokens(sign_in: AzureSignIn) -> Callable[[], Fetched]:
    """Return the function that fetches a token."""
    return partial(fetch_azure, sign_in)
