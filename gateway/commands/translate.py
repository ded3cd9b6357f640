"""``trigate translate``: translates a request from one API to another, and lists lost fields; sends nothing."""

from typing import Any, BinaryIO

import click
import msgspec

from gateway.commands.terminal import name_of, say
from gateway.logs.masking import escape
from providers.apis import CODECS
from providers.catalog import providers as catalog
from providers.catalog.models import quirks_of
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.fields import expect
from providers.neutral.hints import losses
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import shorten_names
from streams.errors import GatewayError
from streams.events import Api
from streams.surrogates import NOT_JSON, describe_json_error


def run(file: BinaryIO, source: Api, target: Api, model: str | None, provider: str | None, strict: bool) -> int:
    """Print the translated body to stdout and the report to stderr. Return the exit status.

    It is 0, 1 for a rejected request, 2 for an unknown provider or a file that is not JSON."""
    try:
        value = msgspec.json.decode(file.read())
    except NOT_JSON as error:
        say(f"{name_of(file)} is not valid JSON: {describe_json_error(error)}")
        return 2
    row = catalog.find(provider) if provider is not None else None
    if provider is not None and row is None:
        say(f"unknown provider {provider!r}; expected one of {', '.join(catalog.CATALOG)}")
        return 2
    try:
        outgoing = translate_body(value, source, target, model, Quirks() if row is None else row.quirks)
    except GatewayError as error:
        say(escape(f"rejected with status {error.info.status}: {error.info.message}"))
        return 1
    click.echo(msgspec.json.format(outgoing.body, indent=2))
    _print_report(outgoing)
    if strict and (lost := losses(outgoing.dropped)):
        say(escape(f"--strict: the translation loses {', '.join(lost)}"))
        return 1
    return 0


def translate_body(value: Any, source: Api, target: Api, model: str | None, quirks: Quirks) -> Outgoing:
    """Translate ``value``, a body of ``source``, to ``target`` for ``model``, by default the one in ``value``.

    Raises ``GatewayError`` for an invalid or unsupported request."""
    request = CODECS[source].read_request(expect(value, dict, "the request"))
    call, _ = shorten_names(request, CODECS[target].wire.tool_naming)
    model = model or call.model
    return CODECS[target].write_request(call, Recipient(model, Issuer("", ""), quirks_of(quirks, model)))


def _print_report(outgoing: Outgoing) -> None:
    for name, value in outgoing.headers:
        say(escape(f"header   {name}: {value}"))
    lost = losses(outgoing.dropped)
    for path in outgoing.dropped:
        say(escape(f"dropped  {path}{'' if path in lost else '  (a hint)'}"))
