"""``trigate lint``: hold a captured stream or answer, ours or any other gateway's, against the grammar of its API."""

import sys
from pathlib import Path
from typing import Any

import attrs
import click
import msgspec

from providers.apis import CODECS
from providers.grammar import Verdict, detect, judge
from streams.events import Api

_STDIN = "-"


def run(path: str, api: Api | None, tolerant: bool, as_json: bool) -> int:
    """Judge the file at ``path`` (``-``: standard input) and print the verdict.

    Without ``api`` the first events say which one it is; ``tolerant`` waives what real providers are known to do.
    Exit status 0 if it is well formed (an answer that ends in a proper error is), 1 if it breaks a rule, which is
    named, 2 if it cannot be read or does not say which API it is."""
    try:
        body = sys.stdin.buffer.read() if path == _STDIN else Path(path).read_bytes()
    except OSError as error:
        click.echo(f"{path}: cannot be read: {error.strerror or error}", err=True)
        return 2
    name = "standard input" if path == _STDIN else path
    api = api or detect(body)
    if api is None:
        click.echo(f"{name}: does not say which API it is; name it with --api: {', '.join(CODECS)}", err=True)
        return 2
    verdict = judge(api, body, tolerant=tolerant)
    click.echo(_json(name, body, verdict) if as_json else _text(name, body, verdict))
    return 0 if verdict.good else 1


def _line(body: bytes, offset: int) -> int:
    """The number of the line that ``offset`` stands in, from 1; CR, LF and CRLF each end one."""
    before = body[:offset]
    return before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n") + 1


def _json(name: str, body: bytes, verdict: Verdict) -> str:
    value: dict[str, Any] = {"file": name, **attrs.asdict(verdict)}
    if verdict.broken is not None:
        value["broken"]["line"] = _line(body, verdict.broken.offset)
    return msgspec.json.encode(value).decode()


_ENDED = {
    "complete": "it is complete",
    "failed": "it ends in an error",
    "cut": "it is cut off",
}


def _text(name: str, body: bytes, verdict: Verdict) -> str:
    what = f"a {verdict.api} stream of {verdict.events} events" if verdict.streamed else f"a whole {verdict.api} answer"
    broken = verdict.broken
    if broken is None:
        lines = [f"{name}: {what}, well formed; {_ENDED[verdict.outcome]}"]
    else:
        line = _line(body, broken.offset)
        place = f", in event {broken.event} (byte {broken.offset})" if verdict.streamed else ""
        lines = [f"{name}:{line}: {what} breaks {broken.rule}{place}; {_ENDED[verdict.outcome]}"]
        rows = (("found", broken.found), ("rule", broken.want), ("source", broken.source))
        lines += [f"  {label:8}{text}" for label, text in rows if text]
    if verdict.waived:
        lines.append(f"  waived  {', '.join(verdict.waived)}")
    return "\n".join(lines)
