"""Vault and OpenBao: the secrets engine KV version 2, the sign-in of Kubernetes, and tokens.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2, …/auth/kubernetes and …/auth/token.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs
import msgspec
import trio

from configfile.stored_secrets import StoredSecret
from gateway.features.secret_stores.feature import VaultSettings
from gateway.features.secret_stores.fetching import PATIENCE, SecretUnreadable, SecretVersion, fetch_json, refusal
from gateway.http.offload import read_in_thread
from gateway.http.redaction import FETCHED
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest

RENEW_AT: Final = 2 / 3
"""The part of a token's lifetime after which it is renewed."""

_POD_TOKEN_BYTES: Final = 16 * 1024


@attrs.frozen(repr=False)
class VaultToken:
    """A token, and the time at which it is renewed, by the clock of its client; ``None`` if it does not expire."""

    text: str
    renew_at: float | None
    renewable: bool


class VaultClient(trio.abc.AsyncResource):
    """The connections to one server, and the token for it. ``clock`` is monotonic."""

    def __init__(self, settings: VaultSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._upstream = Upstream(ca_path=None if settings.ca is None else str(settings.ca))
        self._token: VaultToken | None = None
        self._signing_in = trio.Lock()

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def read(self, secret: StoredSecret) -> SecretVersion:
        """Return the current version, a JSON object as text. Raises ``SecretUnreadable``."""
        mount, _, path = secret.path.partition("/")
        place = f"{quote(mount, safe='')}/data/{quote(path)}"
        token = await self._valid_token()
        status, found = await self._call("GET", place, token)
        if status == 403 and self._settings.role is not None:  # the token was revoked
            self._token = None
            status, found = await self._call("GET", place, await self._valid_token())
        data = found.get("data")
        version = data.get("data") if isinstance(data, dict) else None
        if status == 404:
            deleted = isinstance(data, dict) and isinstance(data.get("metadata"), dict)
            raise SecretUnreadable("its last version was deleted" if deleted else "the store does not have it")
        if status != 200:
            raise _make_error(status, found)
        if not isinstance(version, dict):
            raise SecretUnreadable("the response has no data of KV version 2: is the path `mount/path#member`?")
        return SecretVersion(msgspec.json.encode(version).decode(), _creation_time(data))

    async def _valid_token(self) -> str:
        async with self._signing_in:
            token = self._token
            if token is not None and (token.renew_at is None or self._clock() < token.renew_at):
                return token.text
            if token is not None and token.renewable:
                try:
                    status, found = await self._call("POST", "auth/token/renew-self", token.text, {})
                    if status == 200:
                        return self._keep(found, token.text)
                except SecretUnreadable:
                    pass  # the sign-in says why
            return await self._sign_in()

    async def _sign_in(self) -> str:
        settings = self._settings
        if settings.role is None:
            FETCHED.hide(filter(None, (settings.token,)))
            return await self._look_up(settings.token or "")
        try:
            with trio.fail_after(PATIENCE):
                jwt = await read_in_thread(partial(_read_pod_token, settings.pod_token))
        except trio.TooSlowError:
            message = f"cannot read the pod's token in {settings.pod_token}: no response within {PATIENCE:g} s"
            raise SecretUnreadable(message, temporary=True) from None
        FETCHED.hide((jwt,))
        content = {"role": settings.role, "jwt": jwt}
        status, found = await self._call("POST", f"auth/{quote(settings.auth_path)}/login", None, content)
        if status != 200:
            raise _make_error(status, found, "the sign-in failed: ")
        return self._keep(found)

    async def _look_up(self, token: str) -> str:
        """Return the configured ``token`` with its lifetime, if the token is permitted to query that."""
        status, found = await self._call("GET", "auth/token/lookup-self", token)
        about = found.get("data")
        if status != 200 or not isinstance(about, dict):
            return token
        self._keep({"auth": {"lease_duration": about.get("ttl"), "renewable": about.get("renewable")}}, token)
        return token

    def _keep(self, found: Mapping[str, Any], text: str = "") -> str:
        """Store the token in a response, or the renewed ``text``, and return it. Raises ``SecretUnreadable``."""
        auth = found.get("auth")
        text = text or (auth.get("client_token") if isinstance(auth, dict) else None) or ""
        if not isinstance(auth, dict) or not isinstance(text, str) or not text:
            raise SecretUnreadable("the sign-in returned no token")
        lifetime = auth.get("lease_duration")
        seconds = lifetime if isinstance(lifetime, int | float) else 0
        renew_at = self._clock() + RENEW_AT * seconds if seconds > 0 else None
        FETCHED.hide((text,))
        self._token = VaultToken(text, renew_at, auth.get("renewable") is True)
        return text

    async def _call(
        self, method: str, path: str, token: str | None, content: Mapping[str, Any] | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        settings = self._settings
        headers = [("x-vault-request", "true"), ("accept-encoding", "identity")]
        headers += [("x-vault-token", token)] if token is not None else []
        headers += [("x-vault-namespace", settings.namespace)] if settings.namespace is not None else []
        body = b"" if content is None else msgspec.json.encode(content)
        url = f"{settings.url.rstrip('/')}/v1/{path}"
        return await fetch_json(self._upstream, UpstreamRequest(method, url, tuple(headers), body))


def _read_pod_token(path: Path) -> str:
    """Return the pod's token. It changes every hour, so each sign-in reads it. Blocks."""
    try:
        with path.open("rb") as file:
            return file.read(_POD_TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise SecretUnreadable(f"cannot read the pod's token in {path}: {(error.strerror or '').lower()}") from None
    except UnicodeDecodeError:
        raise SecretUnreadable(f"{path} has no token") from None


def _make_error(status: int, found: Mapping[str, Any], during: str = "") -> SecretUnreadable:
    errors = found.get("errors")
    error = refusal(status, errors[0] if isinstance(errors, list) and errors else None)
    return SecretUnreadable(f"{during}{error}", temporary=error.temporary)


def _creation_time(data: Any) -> float | None:
    """Return the creation time in a response's metadata, such as 2026-01-01T00:00:00.123456789Z."""
    metadata = data.get("metadata")
    written = metadata.get("created_time") if isinstance(metadata, dict) else None
    try:
        return datetime.fromisoformat(f"{str(written)[:19]}+00:00").timestamp()
    except ValueError:
        return None
