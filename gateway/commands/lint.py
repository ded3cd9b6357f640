"""``trigate lint``: checks a captured stream or response of any gateway or provider against its API's grammar."""

from typing import Any, BinaryIO

import attrs
import click
import msgspec

from gateway.commands.terminal import count_text, name_of, say
from providers.apis import CODECS
from providers.grammar import Verdict, detect, judge
from streams.events import Api


def run(file: BinaryIO, api: Api | None, tolerant: bool, as_json: bool) -> int:
    """Check ``file``, print the result, and return the exit status.

    Without ``api``, it is detected from the first events; ``tolerant`` accepts known deviations of real providers.
    The exit status is 0 if the file is well formed (also with a proper error at the end), 1 if it breaks a rule, 2 if
    it is empty or its API is not clear."""
    body, name = file.read(), name_of(file)
    if not body.strip():
        say(f"{name}: empty: give a captured stream or response")
        return 2
    api = api or detect(body)
    if api is None:
        say(f"{name}: cannot detect the API; set it with --api: {', '.join(CODECS)}")
        return 2
    verdict = judge(api, body, tolerant=tolerant)
    click.echo(_json_report(name, body, verdict) if as_json else _text_report(name, body, verdict))
    return 0 if verdict.good else 1


def _line_number(body: bytes, offset: int) -> int:
    """Return the line number of ``offset``, from 1; CR, LF and CRLF each end a line."""
    before = body[:offset]
    return before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n") + 1


def _json_report(name: str, body: bytes, verdict: Verdict) -> str:
    value: dict[str, Any] = {"file": name, **attrs.asdict(verdict)}
    if verdict.broken is not None:
        value["broken"]["line"] = _line_number(body, verdict.broken.offset)
    return msgspec.json.encode(value).decode()


_ENDED = {
    "complete": "it is complete",
    "failed": "it ends with an error",
    "cut": "it is incomplete",
}


def _text_report(name: str, body: bytes, verdict: Verdict) -> str:
    what = f"a {verdict.api} " + (
        f"stream of {count_text(verdict.events, 'event')}" if verdict.streamed else "response"
    )
    broken = verdict.broken
    if broken is None:
        lines = [f"{name}: {what}, well formed; {_ENDED[verdict.outcome]}"]
    else:
        line = _line_number(body, broken.offset)
        place = f", in event {broken.event} (byte {broken.offset})" if verdict.streamed else ""
        lines = [f"{name}:{line}: {what} breaks {broken.rule}{place}; {_ENDED[verdict.outcome]}"]
        rows = (("found", broken.found), ("expected", broken.want), ("source", broken.source))
        lines += [f"  {label:9}{text}" for label, text in rows if text]
    if verdict.waived:
        lines.append(f"  waived   {', '.join(verdict.waived)}")
    return "\n".join(lines)
