"""``trigate cache`` over requests on disk: two turns, or the turns of a recording."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click
import msgspec

from gateway.commands.terminal import say
from gateway.logs.masking import escape
from gateway.prompt_caches.blocks import read_prompt
from gateway.prompt_caches.compared_values import shared_end, shared_start, text_of, value_at
from gateway.prompt_caches.comparisons import PromptComparison
from gateway.prompt_caches.differences import Difference, first_difference
from gateway.prompt_caches.digests import class_at, compact_json
from gateway.prompt_caches.loss import loss
from gateway.prompt_caches.parents import may_continue, share_anchors
from gateway.prompt_caches.positions import boundary_positions, continues, lifetime_of, lookup_positions, marks
from gateway.prompt_caches.prompts import PromptDigest
from gateway.prompt_caches.situations import Boundary, CacheScope, Parent, Situation
from gateway.prompt_caches.values import CacheVerdict
from gateway.prompt_caches.verdicts import judge
from providers.apis import CODECS
from providers.catalog.prices import NANOS, Price, price_of
from providers.catalog.prompt_caching import CachingRow, caching_row
from providers.catalog.providers import find, maker
from providers.recordings import (
    UnreadableRecording,
    client_meta_files,
    read_client_request,
    read_recording,
    stream_framing,
)
from providers.request_api import possible_apis
from streams.events import Api, Usage
from streams.surrogates import NOT_JSON

GOOD: Final = 0
UNREADABLE: Final = 2

_KEY: Final = bytes(32)
_BYTES_PER_TOKEN: Final = 4
_SCOPE: Final = CacheScope(b"", "")


class UnusableRequest(ValueError):
    """A file that is no request, with the reason."""


@attrs.frozen(eq=False)
class _Turn:
    """A request on disk; ``usage`` is that of its response, if it was recorded."""

    name: str
    api: Api
    body: bytes
    prompt: PromptDigest
    row: CachingRow | None
    price: Price | None
    sent: float
    usage: Usage | None = None

    @property
    def tokens(self) -> int:
        """The tokens of the prompt, estimated from its bytes without usage."""
        return self.prompt.size // _BYTES_PER_TOKEN if self.usage is None else self.usage.prompt

    def boundaries(self) -> tuple[Boundary, ...]:
        """Return the boundaries that the request leaves, with tokens in proportion to the bytes."""
        words = {} if self.row is None else dict(marks(self.prompt, self.row))
        return tuple(
            Boundary(
                position, self.tokens * self.prompt.size_at(position) // max(self.prompt.size, 1), self.sent, self.sent,
                None if self.row is None else lifetime_of(self.prompt, self.row, words.get(position)),
                is_exact=self.usage is not None and position == self.prompt.end,
            )
            for position in boundary_positions(self.prompt, self.row)
        )  # fmt: skip

    def as_parent(self) -> Parent:
        """Return the turn as the exchange that another one continues."""
        return Parent(self.prompt, _SCOPE, self.prompt.end, self.tokens, self.boundaries(), None, self.sent, self.sent)


def run_files(paths: Sequence[Path], model: str | None) -> int:
    """Compare two requests, or the turns of a folder of recordings; print the result and return the exit status.

    ``model`` is ``PROVIDER/MODEL``, by default the model in each request and its maker."""
    try:
        if len(paths) == 1 and paths[0].is_dir():
            _report_folder(paths[0], model)
        elif len(paths) == 2:
            first, second = (_read_file(path, model) for path in paths)
            click.echo("\n".join(_compare(first, second)))
        else:
            raise UnusableRequest("expected two files with requests, or one folder of recordings")
    except BrokenPipeError:
        raise  # a reader such as ``head`` has enough
    except (UnusableRequest, UnreadableRecording, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        say(f"trigate cache: {escape(text)}", fg="red")
        return UNREADABLE
    return GOOD


# Reading


def _read_file(path: Path, model: str | None) -> _Turn:
    body = path.read_bytes()
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON:
        raise UnusableRequest(f"{path}: expected a request in JSON, with its messages") from None
    return _turn(path.name, next(iter(possible_apis(members)), "chat"), body, model, 0.0, None)


def _turn(name: str, api: Api, body: bytes, model: str | None, sent: float, usage: Usage | None) -> _Turn:
    provider, plain = _provider_and_model(body, model)
    row = caching_row(provider, plain, api)
    prompt = read_prompt(api, body, row, _KEY)
    if prompt is None or not prompt.end:
        raise UnusableRequest(f"{name}: found no messages in the request")
    price = price_of(provider, plain)
    if price is not None and CODECS[api].wire.charges_cache_writes:
        price = price.with_cache_writes
    return _Turn(name, api, body, prompt, row, price, sent, usage)


def _provider_and_model(body: bytes, model: str | None) -> tuple[str, str]:
    """Return the provider's id and the model: those of the option, or the request's model and its maker."""
    if model is None:
        found = json.loads(body).get("model")
        model = found if isinstance(found, str) else ""
    provider, _, plain = model.partition("/")
    if plain and (row := find(provider)) is not None:
        return row.id, plain
    own = maker(model)
    return ("" if own is None else own.id), model


def _read_folder(folder: Path, model: str | None) -> Iterator[_Turn]:
    """Yield the successful turns of a folder of recordings, in the order in which they were sent."""
    found = []
    for file in client_meta_files(folder):
        request = read_client_request(file)
        if request is not None and not request.cut and request.status < 400 and request.body.is_file():
            found.append((request.began or 0.0, request.name, request.api, file))
    for began, name, api, file in sorted(found):
        recorded = read_recording(file)
        try:
            usage = _usage_of(api, recorded.content_type, recorded.response or b"")
            yield _turn(name, api, recorded.request or b"", model, began, usage)
        except (UnusableRequest, ValueError) as error:
            say(f"{escape(name)}: skipped: {escape(str(error))}")


def _usage_of(api: Api, content_type: str, response: bytes) -> Usage | None:
    """Return the usage in a recorded response, ``None`` without any."""
    codec = CODECS[api]
    framing = stream_framing(api, content_type, response)
    if framing is None:
        events = list(codec.read_answer(response))
    else:
        reader = codec.reader()
        events = [event for name, data in framing.parse_all(response) for event in reader.read_event(name, data)]
        events += reader.close()
    return next((event for event in reversed(events) if isinstance(event, Usage)), None)


# Reports


def _report_folder(folder: Path, model: str | None) -> None:
    turns: list[_Turn] = []
    for turn in _read_folder(folder, model):
        parent = _parent_of(turn, turns)
        turns.append(turn)
        click.echo(f"{turn.name}  {turn.tokens:,} tokens" + ("" if parent else ", a first turn"))
        if parent is not None:
            for line in _compare(parent, turn):
                click.echo(f"  {line}")
    if not turns:
        raise UnusableRequest(f"{folder}: found no recorded requests with messages")


def _parent_of(turn: _Turn, earlier: Sequence[_Turn]) -> _Turn | None:
    """Return the latest of the ``earlier`` turns that ``turn`` continues."""
    for one in reversed(earlier):
        before = one.prompt
        if one.api != turn.api or not may_continue(before, turn.prompt):
            continue
        after = before.end - max(boundary_positions(before, one.row), default=before.end)
        if continues(before, turn.prompt, after) or share_anchors(before, turn.prompt, _KEY):
            return one
    return None


def _compare(before: _Turn, after: _Turn) -> list[str]:
    """Return the lines that compare a turn with the one that it continues."""
    compared = PromptComparison(after.prompt, None, before.as_parent(), (), after.row, Situation(_SCOPE, after.sent))
    usage = after.usage or _assumed_usage(after, compared.readable)
    verdict = judge(compared, usage)
    verdict = attrs.evolve(verdict, readable=min(compared.readable, verdict.could))
    lines = [_difference_line(before, after)]
    about = "" if after.usage is not None and before.usage is not None else "about "
    reason = _reason(compared, verdict)
    lines.append(f"could    {about}{verdict.could:,} tokens; readable {verdict.readable:,}{reason}")
    if after.usage is not None and verdict.read is not None:
        cause = "" if verdict.cause is None else f": {', '.join(one.word for one in verdict.causes)}"
        lines.append(f"read     {verdict.read:,} tokens; missed {verdict.missed:,}{cause}")
    lost = loss(verdict, usage, after.price, at=after.sent or None)  # files of requests have no time
    if verdict.missed and verdict.causes:
        if lost is None:
            lines.append("lost     no price is known: give --model PROVIDER/MODEL")
        else:
            lines.append(f"lost     {lost.nanos / NANOS:.4f} usd on each such turn")
    return lines


def _assumed_usage(turn: _Turn, readable: int) -> Usage:
    """Return the usage of a turn without a response: the cache serves everything that is readable."""
    rest = max(turn.tokens - readable, 0)
    writes = turn.row is not None and turn.row.reports == "exact" and bool(boundary_positions(turn.prompt, turn.row))
    if not writes:
        return Usage(input=rest, cache_read=readable, reports_cache_read=True)
    return Usage(cache_read=readable, cache_write=rest, reports_cache_read=True)


def _difference_line(before: _Turn, after: _Turn) -> str:
    found = first_difference(before.prompt, after.prompt)
    if found is None:
        return "differs  nowhere: the second request begins with all of the first"
    exact = _exact_difference(before.body, after.body, found)
    if exact is None:
        return f"differs  {found.at}"
    detail = "" if exact.detail is None else f" ({exact.detail})"
    return f"differs  {found.path}: {found.kind}{detail}, characters {exact.start}-{exact.end}"


@attrs.frozen
class _ExactDifference:
    """The characters from ``start`` to ``end`` of the newer value at a path that differ, and a word about them."""

    start: int
    end: int
    detail: str | None


def _exact_difference(old: bytes, new: bytes, difference: Difference) -> _ExactDifference | None:
    """Return the characters at which two requests differ, ``None`` if one of them has no value at the path."""
    if not difference.path:
        return None
    try:
        before, after = value_at(old, difference.path), value_at(new, difference.path)
    except (*NOT_JSON, LookupError):
        return None
    texts = text_of(before), text_of(after)
    if texts[0] is None or texts[1] is None or difference.kind == "respelled":
        texts = compact_json(before).decode(errors="replace"), compact_json(after).decode(errors="replace")
    one, other = texts[0] or "", texts[1] or ""
    start = shared_start(one, other)
    end = len(other) - min(shared_end(one, other), len(one) - start, len(other) - start)
    detail = _spelling(before, after) if difference.kind == "respelled" else class_at(other, start, max(end, start + 1))
    return _ExactDifference(start, end, detail)


def _spelling(before: bytes, after: bytes) -> str:
    """Return how two spellings of one JSON value differ."""
    one, other = msgspec.json.decode(before), msgspec.json.decode(after)
    if msgspec.json.encode(one) == msgspec.json.encode(other):
        return "escapes"
    ordered = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    return "member order" if ordered else "numbers"


def _reason(compared: PromptComparison, verdict: CacheVerdict) -> str:
    """Return why less is readable than the cache could serve, "" if it is not."""
    change = compared.change_in_reach
    if verdict.readable >= verdict.could:
        return ""
    if change is not None and not verdict.readable:
        block = None if change.part == "settings" else compared.prompt.block_before(change.position + 1)
        return f": no boundary before {change.at if block is None else block.path}"
    if compared.row.needs_marks and not lookup_positions(compared.prompt, compared.row):
        return ": the request has no marks"
    return f": {verdict.cause.word}" if verdict.cause is not None else ""
