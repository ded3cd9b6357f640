"""A gateway whose clients are the people of an identity provider, for tests.

```python
with people_gateway() as setup:
    setup.ask("chat", setup.token(sub="00u1", groups=["ml"]))     # a request with this token as key
```
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs
import pytest

from tests.support.apis import question
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, Gateway, Reply, config, eventually, exchanges, provider
from tests.support.oidc import OidcProvider, open_provider
from tests.support.upstreams import Script, Upstream, serve_upstream

PATHS: Final[Mapping[str, str]] = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/{model}:generateContent",
    "converse": "/model/{model}/converse",
}
"""The path of each client API."""

MODEL: Final = "sonnet"
OTHER_MODEL: Final = "small"

ADMIT: Final[Sequence[Mapping[str, Any]]] = (
    {"when": {"groups": "platform"}, "role": "admin"},
    {"when": {"groups": "ml"}, "group": "research"},
    {"when": {"groups": "interns"}, "models": [OTHER_MODEL]},
)
"""The rules of the issuer ``okta``, unless a test has its own."""


def issuer(identity: OidcProvider, name: str = "okta", **more: Any) -> dict[str, Any]:
    """Return an item of ``issuers`` for the provider ``identity``."""
    return {"name": name, "issuer": identity.issuer, "audience": ["trigate"], "admit": list(ADMIT), **more}


def body_of(api: str, model: str = MODEL, text: str = "hi", **more: Any) -> dict[str, Any]:
    """Return a short request in ``api``."""
    if api == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    if api == "converse":
        return {"messages": [{"role": "user", "content": [{"text": text}]}], **more}
    return question(api, model, text, **more)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


class Answering(Upstream):
    """A provider that answers every request with a short text, while ``is_open`` is set."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.is_open = threading.Event()
        self.is_open.set()

    def take(self, seen: Any) -> Any:
        self.seen.append(seen)
        self.is_open.wait(PATIENCE)
        return Script(text="Hello from the model.")


@attrs.frozen
class PeopleSetup:
    """A gateway, its identity provider and its model provider, which answers every request."""

    gateway: Gateway
    identity: OidcProvider
    upstream: Answering

    def token(self, **claims: Any) -> str:
        """Return a token of the identity provider, by default for the person ``00u1`` in the group ``ml``."""
        return self.identity.token(**{"sub": "00u1", "groups": ["ml"], **claims})

    def ask(
        self, api: str, token: str | None, model: str = MODEL, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Reply:
        """Send a short request in ``api`` with ``token`` as its bearer."""
        sent = {**({} if token is None else bearer(token)), **(headers or {})}
        return self.gateway.request("POST", PATHS[api].format(model=model), body_of(api, model, **more), sent)

    def client_of(self, reply: Reply) -> str | None:
        """Return the client of the exchange with this response, as the log names it."""
        (line,) = eventually(partial(exchanges, self.gateway.log, reply.headers["x-request-id"]), what="a log line")
        found: str | None = line.get("client")
        return found


@contextlib.contextmanager
def people_gateway(
    issuers: Sequence[Mapping[str, Any]] | None = None,
    groups: Sequence[Mapping[str, Any]] = ({"name": "research"},),
    **more: Any,
) -> Iterator[PeopleSetup]:
    """Run a gateway with ``issuers``, by default one named ``okta`` with the rules ``ADMIT``.

    A request with an unknown key waits longer for new keys: the two seconds of the gateway may pass on a busy machine.
    ``more`` are other root keys. A callable is called with the providers, and its result is used."""
    with (
        pytest.MonkeyPatch.context() as patched,
        open_provider() as identity,
        serve_upstream(Answering) as upstream,
    ):
        patched.setattr("gateway.features.people.key_sets.UNKNOWN_WAIT", PATIENCE)
        found = issuers(identity) if callable(issuers) else issuers
        models = more.pop("models", None)
        entries = (
            models(upstream)
            if callable(models)
            else [
                provider("openai/gpt-4o", upstream.url + "/v1", name=MODEL),
                provider("openai/gpt-4o-mini", upstream.url + "/v1", name=OTHER_MODEL),
            ]
        )
        settings = config(
            entries, issuers=[issuer(identity)] if found is None else list(found), client_groups=list(groups), **more
        )
        with gateway_thread(settings) as gateway:
            yield PeopleSetup(gateway, identity, upstream)
