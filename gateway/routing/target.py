"""A target: one model of one provider, how it is addressed, and with what credential."""

from functools import cached_property
from typing import Literal, TypeAlias

import attrs

from gateway.config.settings import ModelEntry
from providers.catalog.providers import Auth, url_for
from providers.neutral.codec import Recipient
from streams.events import Api

Headers: TypeAlias = tuple[tuple[str, str], ...]

LaneName: TypeAlias = Literal["byte", "hub"]


@attrs.frozen
class Target:
    """Where one request goes. ``asked`` is the name the client used (the entry's name if it used none), ``model`` the
    provider's own, ``api`` the API that the provider is asked in. ``betas`` are wanted by the name, beside the
    client's own."""

    entry: ModelEntry
    model: str
    api: Api
    lane: LaneName
    url: str
    asked: str
    recipient: Recipient
    betas: tuple[str, ...] = ()

    @cached_property
    def name(self) -> str:
        """``provider/model``."""
        return f"{self.entry.provider.id}/{self.model}"

    def headers(self, credentials: str | None) -> Headers:
        """The credential, the Host and the configured headers, names in lower case; configured ones overwrite.

        ``credentials`` is the client's own (the bare token): it is used under ``passthrough_auth`` only, and then in
        the style that the provider's API wants. Without either no credential goes out."""
        return self._headers(credentials) if self.entry.passthrough_auth else self._own_headers

    @cached_property
    def _own_headers(self) -> Headers:
        return self._headers(self.entry.key)

    def _headers(self, key: str | None) -> Headers:
        entry = self.entry
        found = dict((_credential(entry.provider.auth[self.api], key),)) if key else {}
        if entry.http_host is not None:
            found["host"] = entry.http_host
        found.update((name.lower(), value) for name, value in entry.headers)
        return tuple(found.items())


def _credential(style: Auth, key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}") if style == "bearer" else (style, key)


def asked_in(api: Api, target: Target) -> Target:
    """``target`` asked in another API than the client's."""
    url = url_for(target.entry.base_url, target.entry.provider, api, target.model)
    return attrs.evolve(target, api=api, lane="hub", url=url)
