"""``trigate log``: prints the story of one request, from a running gateway, else from a log. For ``replay``, it finds
the request to send again."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import click
import msgspec

from configfile.users_files import open_file
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.fetching import FetchError, fetch
from gateway.commands.registry import RegisteredGateway, running_gateways
from gateway.commands.running_gateways import ConnectFailed, local_url, root_url
from gateway.commands.sessions import SessionFailed, SessionFile, valid_token
from gateway.commands.terminal import echo_styled, print_rows, real_columns, say
from gateway.features.page_paths import STORY
from gateway.log_output.terminal import ended_text, missed_cache_text
from gateway.logs.masking import escape, escape_json
from providers.neutral.hints import explain_path
from streams.events import Api
from streams.surrogates import decode_or

GOOD, UNKNOWN = 0, 1
TIMEOUT: Final = 10.0
LARGEST: Final = 2**25
"""Bytes of a story with its request, in which JSON may escape each byte."""
_LABEL: Final = 12
_ONLY_FAILED: Final = "the gateway keeps only failed ones, for their owners and admins"
_ANY: Final = msgspec.json.Decoder()


@attrs.frozen
class Story:
    """The story of one request: its log ``line``, its client's ``api``, and the texts of a failure.

    ``url`` is the gateway that keeps it, "" for a line of a log."""

    line: Mapping[str, Any]
    api: Api = "chat"
    failure: Mapping[str, Any] | None = None
    url: str = ""


def run(request_id: str, url: str | None, log: Path | None, as_json: bool) -> int:
    """Run ``trigate log`` and return its exit status: 0, or 1 if nothing is known about the request."""
    if not request_id:  # such as an unset variable of a script
        raise click.UsageError("REQUEST_ID is empty: give the id in x-request-id of the response")
    reasons: list[str] = []
    story = None if log is not None else story_of(request_id, url, reasons)
    if story is None and url is None:
        story = _logged_story(request_id, log, reasons)
    if story is not None:
        if as_json:
            text = msgspec.json.format(msgspec.json.encode({"line": story.line, "failure": story.failure}))
            click.echo("\n".join(map(escape_json, text.decode().split("\n"))))
            return GOOD
        try:
            rows = [(label, escape(text)) for label, text in _rows(story)]
        except (KeyError, TypeError, ValueError, AttributeError):
            say(f"The line of {escape(request_id)} has another form, such as that of another version: add --json.")
            return UNKNOWN
        echo_styled(click.style(escape(request_id), bold=True))
        print_rows(rows, _LABEL, real_columns(sys.stdout))
        return GOOD
    _say_unknown(request_id, reasons)
    return UNKNOWN


def _say_unknown(request_id: str, reasons: Sequence[str]) -> None:
    say(f"Found no request {escape(request_id)}. The response has its id in x-request-id.")
    for reason in reasons:
        say(f"- {reason}")


def kept_story(request_id: str, url: str | None, key_name: str) -> Story | None:
    """Return the story of a kept request with its failure, and report what sending it again costs; ``None`` after a
    report that it cannot be sent.

    ``key_name`` is the variable with the key that sends it."""
    reasons: list[str] = []
    story = story_of(request_id, url, reasons, with_request=True)
    if story is None:
        _say_unknown(request_id, reasons)
        return None
    failure = story.failure
    if failure is None or failure["request"] is None:
        why = _ONLY_FAILED if failure is None else failure["why_not"]
        say(f"The request {escape(request_id)} is not kept: {why}.")
        return None
    paid = _cost_text(story.line) or "nothing"
    key = key_for(story.url, key_name)
    payer = f"the key in {key_name}" if os.environ.get(key_name) else "your session" if key else "no key"
    say(f"Sending it to {story.url} again with {payer}. This costs as any request; the first one cost {paid}.")
    if failure["is_changed"]:
        say("It contained credentials, which were removed.")
    return story


# The sources


def story_of(request_id: str, url: str | None, reasons: list[str], *, with_request: bool = False) -> Story | None:
    """Return the story that the gateway at ``url``, else one of the user's gateways, keeps; add reasons to
    ``reasons``."""
    try:
        roots = [root_url(url)] if url is not None else _own_roots()
    except ConnectFailed as error:
        raise click.UsageError(str(error).replace("--url", "--to")) from None
    query = urlencode({"id": request_id, **({"request": 1} if with_request else {})}, errors="replace")
    for root in roots:
        key = key_for(root)
        try:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            status, body = fetch(f"{root}{STORY}?{query}", headers, TIMEOUT, LARGEST)
        except FetchError as error:
            reasons.append(f"{root}: {error}")
            continue
        found: Any = decode_or(_ANY.decode, body, None) if status == 200 else None
        if isinstance(found, dict) and {"line", "api", "failure"} <= found.keys():
            return Story(found["line"], found["api"], found["failure"], root)
        reasons.append(f"{root}: {_refusal(status, body)}")
    return None


def _refusal(status: int, body: bytes) -> str:
    if status in (401, 403):
        return f"status {status}: set {KEY_VARIABLE} to your key, or to the gateway's ui_key"
    text = body.decode(errors="replace").strip()
    if status == 404 and not text.startswith("{"):
        return escape(text)
    return f"status {status}: it keeps no failures (`keep_failures`)" if status == 404 else f"status {status}"


def _own_roots() -> Sequence[str]:
    roots = [url for one in running_gateways() for url in one.urls if url.startswith("http")]
    return list(dict.fromkeys(roots)) or [local_url()]


def key_for(root: str, variable: str = KEY_VARIABLE) -> str | None:
    """Return the user's key for the gateway at ``root``: that in ``variable``, else the token of a session."""
    if key := os.environ.get(variable):
        return key
    try:
        file = SessionFile.of_user()
        return None if file.find(root) is None else valid_token(file, root)
    except SessionFailed:
        return None


def _logged_story(request_id: str, log: Path | None, reasons: list[str]) -> Story | None:
    mark = b'"request_id":' + msgspec.json.encode(request_id)
    if log is not None:
        places: Iterable[RegisteredGateway | Path] = [log]
    else:
        places = [one if one.is_in_journal else Path(one.log) for one in running_gateways() if _has_log(one)]
        if not places:
            reasons.append("no running gateway of yours logs to a file: give a log with --log FILE")
    for place in places:
        found = None
        try:
            for text in _lines_of(place, mark):
                line: Any = decode_or(_ANY.decode, text[max(text.find(b'{"event":'), 0) :], None)
                if isinstance(line, dict) and line.get("event") == "exchange" and line["request_id"] == request_id:
                    found = Story(line)  # a client may use an id again
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
            continue
        if found is not None:
            return found
        reasons.append(f"{place if isinstance(place, Path) else place.log}: no line with this id")
    return None


def _has_log(one: RegisteredGateway) -> bool:
    return one.is_in_journal or one.log_file is not None


def _lines_of(place: RegisteredGateway | Path, mark: bytes) -> Iterator[bytes]:
    """Yield the lines with ``mark``. Raises ``OSError``."""
    if isinstance(place, Path):
        with open_file(place) as file:
            yield from (text for text in file if mark in text)
        return
    command = [*place.log.split(), "-o", "cat", "--no-pager"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as journal:
        yield from (text for text in journal.stdout or () if mark in text)


# How it looks


def _rows(story: Story) -> Iterator[tuple[str, str]]:
    line, failure = story.line, story.failure
    whose = f" of {line['client']}" if "client" in line else ""
    yield "ended", f"{_local_time(line['at'])}, after {_ms_text(line['duration_ms'])}"
    stream = "streamed" if line["stream"] else "not streamed"
    yield "request", f"{line.get('model', 'no model')}{whose} ({line.get('endpoint', line['api'])}, {stream})"
    lane = f", {line['lane']} lane" if "lane" in line else ""
    if "target" in line:
        yield "target", f"{line['target']} ({line.get('provider_api', line['api'])}{lane})"
    yield "result", f"status {line['status']}, {ended_text(line)}"
    message = (failure or {}).get("message") or line.get("message")
    if "error" in line:
        yield "error", f"{line['error']}: {message}" if message else line["error"]
    yield from _attempt_rows(line)
    if "waited_ms" in line:
        yield "waits", f"{_ms_text(line['waited_ms'])} between attempts or for a target"
    if "first_byte_ms" in line:
        yield "first byte", f"after {_ms_text(line['first_byte_ms'])}"
    yield from _usage_rows(line)
    if cause := missed_cache_text(line):
        yield "cache", cause
    elif "prompt_cache_could" in line:
        missed = f"{line['prompt_cache_missed']:,} of {line['prompt_cache_could']:,} tokens missed"
        yield "cache", f"prompt cache: {missed}"
    for name in ("dropped", "adapted", "repaired"):
        if name in line:
            yield name, ", ".join(explain_path(path) for path in line[name].split(",") if path)
    for step in line.get("steps", ()):
        yield "step", f"{step['step']} at {step['at']}: {step['outcome']}"
    if "upstream_request_id" in line:
        yield "provider id", line["upstream_request_id"]
    yield from _failure_rows(story)


_TIMES: Final = {"head_ms": "headers", "content_ms": "content", "duration_ms": "end"}


def _attempt_rows(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(line.get("tried", ()), 1):
        status = f", status {one['status']}" if "status" in one else ""
        times = (f"{name} after {_ms_text(one[key])}" for key, name in _TIMES.items() if key in one)
        text = f"{number}. {one['cause']}: {one['target']}, {one['reason']}{status}"
        yield "attempts" if number == 1 else "", ", ".join((text, *times))


def _usage_rows(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    about = "about " if line.get("usage_estimated") else ""
    if "input_tokens" in line:
        cached = f" ({line['cached_tokens']:,} cached)" if line.get("cached_tokens") else ""
        yield "tokens", f"{about}{line['input_tokens']:,} in{cached}, {line.get('output_tokens', 0):,} out"
    if cost := _cost_text(line):
        yield "cost", cost
    if "cache" in line:
        age = f", {line['cache_age_s']:,} s old" if "cache_age_s" in line else ""
        yield "cache", f"response cache: {line['cache']}{age}"


def _cost_text(line: Mapping[str, Any]) -> str:
    """Return the cost of all attempts, "" without tokens."""
    if "cost_usd" in line:
        return f"${line['cost_usd']:.6f} ({line.get('cost_grade', 'unknown')})"
    if line.get("cost_grade") == "subscription":
        return "nothing, because a subscription paid"
    return "an unknown sum, because the target has no price" if "input_tokens" in line else ""


def _failure_rows(story: Story) -> Iterator[tuple[str, str]]:
    failure = story.failure
    if failure is None:
        return
    for error in failure["errors"]:
        yield "said", f"{error['provider']}, status {error['status']}: {' '.join(error['body'].split())}"
    if why_not := failure["why_not"]:
        yield "again", f"the request is not kept: {why_not}"
    else:
        yield "again", f"trigate replay {shlex.quote(story.line['request_id'])}"


def _local_time(at: str) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(datetime.fromisoformat(at).timestamp()))


def _ms_text(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
