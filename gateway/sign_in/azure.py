"""Tokens of Microsoft Entra, as Azure's own library gets them: https://learn.microsoft.com/python/api/overview/azure/identity-readme"""

from typing import Any, Final

from gateway.config.settings import AzureSignIn
from gateway.sign_in.refreshed import Fetched

_PATIENCE: Final = {"retry_total": 2, "connection_timeout": 5, "read_timeout": 10}


def fetch_azure(sign_in: AzureSignIn) -> Fetched:
    """A token that no cache has given. Blocks."""
    with _identity(sign_in) as identity:
        token = identity.get_token(sign_in.scope)
    return Fetched(token.token, float(token.expires_on))


def _identity(sign_in: AzureSignIn) -> Any:
    import azure.identity

    library: Any = azure.identity
    # An authority that somebody has named is not to be vouched for by the public cloud's.
    where = {} if sign_in.authority is None else {"authority": sign_in.authority, "disable_instance_discovery": True}
    more: dict[str, Any] = {**_PATIENCE, **where}
    client = {} if sign_in.client_id is None else {"client_id": sign_in.client_id}
    tenant = {} if sign_in.tenant_id is None else {"tenant_id": sign_in.tenant_id}
    match sign_in.identity:
        case "secret":
            return library.ClientSecretCredential(sign_in.tenant_id, sign_in.client_id, sign_in.client_secret, **more)
        case "managed":
            return library.ManagedIdentityCredential(**client, **_PATIENCE)
        case "workload":
            return library.WorkloadIdentityCredential(**client, **tenant, **more)
        case "default":
            own = {} if sign_in.client_id is None else {"managed_identity_client_id": sign_in.client_id}
            theirs = {} if sign_in.tenant_id is None else {"workload_identity_tenant_id": sign_in.tenant_id}
            return library.DefaultAzureCredential(**own, **theirs, **more)
