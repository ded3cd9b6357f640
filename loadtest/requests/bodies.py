"""The URL, headers and bodies of requests in each API."""

import re
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from loadtest.plan.plan import LoadPlan
from providers.apis import CODECS
from providers.catalog.providers import STANDARD_AUTH
from providers.neutral.codec import Recipient
from providers.neutral.request import Message, Parameter, Request, TextPart
from providers.neutral.seal import Issuer
from streams.events import Api

_VERSION: Final = "2023-06-01"

# Placeholders in a body that is encoded once. Each request replaces them.
_PROMPT: Final = "\N{SYMBOL FOR SUBSTITUTE}"
_LIMIT: Final = 918273645


def request_path(url: str, api: Api, model: str, *, stream: bool) -> str:
    """Return the path and query to post to. ``url`` is the server, the API up to its version, or the whole URL."""
    parts, wire = urlsplit(url), CODECS[api].wire
    named = wire.path.replace("{model}", quote(model, safe="/:@"))
    ending, _, query = wire.suffix("answer", stream).partition("?")
    base = parts.path.rstrip("/")
    wholes = (named + wire.suffix("answer", one).partition("?")[0] for one in (True, False))
    if (whole := next((one for one in wholes if base.endswith(one)), None)) is not None:
        base = base.removesuffix(whole) + named + ending
    else:
        base += f"{'' if re.search(r'/v[0-9][a-zA-Z0-9_]*$', base) else wire.root}{named}{ending}"
    return "?".join(filter(None, (base, "&".join(filter(None, dict.fromkeys((parts.query, query)))))))


def request_headers(api: Api, key: str | None) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request, without those of HTTP itself."""
    found = {"content-type": "application/json", "user-agent": "trigate-load"}
    if api == "messages":
        found["anthropic-version"] = _VERSION
    if key:
        name, value = STANDARD_AUTH[api].header(key)
        found[name] = value
    return tuple(found.items())


class Bodies:
    """The bodies of made prompts, made of one that is encoded once."""

    def __init__(self, plan: LoadPlan) -> None:
        self._template = msgspec.json.encode(_write_body(plan))

    def make_body(self, prompt: str, output: int) -> bytes:
        """Return the body with this prompt and limit of the answer."""
        limited = self._template.replace(b"%d" % _LIMIT, b"%d" % output)
        return limited.replace(_PROMPT.encode(), msgspec.json.encode(prompt)[1:-1])


def _write_body(plan: LoadPlan) -> dict[str, Any]:
    """Return the body that the API's codec writes, with placeholders."""
    codec = CODECS[plan.api]
    request = Request(
        plan.api,
        plan.model,
        (Message("user", (TextPart(_PROMPT),)),),
        stream=plan.stream,
        parameters={"max_tokens": Parameter(_LIMIT, "max_tokens")},
    )
    body: dict[str, Any] = msgspec.json.decode(codec.write_request(request, Recipient(plan.model, Issuer("", ""))).body)
    if codec.wire.stream_member:
        body[codec.wire.stream_member] = plan.stream
    return body | ({"store": False} if codec.wire.stores_unasked else {})
