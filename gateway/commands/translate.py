"""``trigate translate``: a request of one API as another's, and what of it is lost, without sending it."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from providers.apis import CODECS
from providers.catalog import providers as catalog
from providers.catalog.models import quirks_of
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.fields import expect
from providers.neutral.hints import losses
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import shortened
from streams.errors import GatewayError
from streams.events import Api
from streams.surrogates import NOT_JSON


def run(file: str, source: Api, target: Api, model: str | None, provider: str | None, strict: bool) -> int:
    """Print the outgoing body to stdout and the report to stderr. Exit status 0, 1 for a request that is refused, 2 for
    a file that cannot be read or is not JSON, or an unknown provider."""
    name = "standard input" if file == "-" else file
    try:
        value = msgspec.json.decode(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        click.echo(f"{name}: {(error.strerror or 'unreadable').lower()}", err=True)
        return 2
    except NOT_JSON as error:
        click.echo(f"{name}: this is not JSON: {error}", err=True)
        return 2
    row = catalog.find(provider) if provider is not None else None
    if provider is not None and row is None:
        click.echo(f"unknown provider {provider!r}; known are {', '.join(catalog.CATALOG)}", err=True)
        return 2
    try:
        outgoing = translated(value, source, target, model, Quirks() if row is None else row.quirks)
    except GatewayError as error:
        click.echo(f"refused with {error.failed.status}: {error.failed.message}", err=True)
        return 1
    click.echo(msgspec.json.format(outgoing.body, indent=2))
    _report(outgoing)
    if strict and (lost := losses(outgoing.dropped)):
        click.echo(f"strict: {', '.join(lost)} cannot be carried", err=True)
        return 1
    return 0


def translated(value: Any, source: Api, target: Api, model: str | None, quirks: Quirks) -> Outgoing:
    """``value``, a body of ``source``, as a request of ``target`` for ``model`` (by default the one it names). Raises
    ``GatewayError`` for what is no request or cannot be honoured."""
    asked = CODECS[source].read_request(expect(value, dict, "the request"))
    call, _ = shortened(asked, CODECS[target].wire.tool_naming)
    model = model or call.model
    return CODECS[target].write_request(call, Recipient(model, Issuer("", ""), quirks_of(quirks, model)))


def _report(outgoing: Outgoing) -> None:
    for name, value in outgoing.headers:
        click.echo(f"header   {name}: {value}", err=True)
    lost = losses(outgoing.dropped)
    for path in outgoing.dropped:
        click.echo(f"dropped  {path}{'' if path in lost else '  (a hint)'}", err=True)
