"""Members of wrong types in answers and requests: no reader raises for them, and no writer does afterwards.

Each member is replaced by some of the values, one at a time, and in the soak by all of them. Errors with a status are
``GatewayError``."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import pytest

from gateway.streaming.translation import Translation
from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.fold import fold
from tests.support.full_answers import STREAMED, full_answers, full_stream, stream_bytes
from tests.support.grammar_changes import places
from tests.support.lanes import reply_for
from tests.support.sdk_fields import samples

VALUES: Final[tuple[Any, ...]] = (
    None, 0, -1.5, 2**70, True, "", "x", "\ud800", [], {}, ["a"], [None], [[]], {"a": 1}, [{"a": 1}],
    [{"type": "text"}], {"type": {}},
)  # fmt: skip
Place: TypeAlias = tuple[str | int, ...]
RECIPIENT: Final = Recipient("m", Issuer("openai", "account"))

each_step = pytest.mark.parametrize("step", [151, pytest.param(1, id="each", marks=pytest.mark.soak)])


def with_value(whole: Any, at: Place, new: Any) -> Any:
    """Return a copy of ``whole`` with ``new`` at a place."""
    if not at:
        return new
    copy = whole.copy()
    copy[at[0]] = with_value(whole[at[0]], at[1:], new)
    return copy


def changes_of(whole: Any, places_of: Iterable[Place], step: int) -> Iterator[tuple[str, Any, str]]:
    """Yield changes of ``whole`` with a name for each, and the API of the other side: one after the other.

    Every ``step``-th value is at each place, and others at the next place."""
    clients = itertools.cycle(CODECS)
    for at, new in itertools.islice(itertools.product(places_of, VALUES), 0, None, step):
        yield f"{at}: {new!r}", with_value(whole, at, new), next(clients)


def error_of(work: Callable[[], object], status: int | None = None) -> Exception | None:
    """Return the exception of ``work()`` that is no ``GatewayError``, or one with another status than ``status``."""
    try:
        work()
    except GatewayError as error:
        return None if status in (None, error.info.status) else error
    except Exception as error:  # each kind is a fault
        return error
    return None


@each_step
@pytest.mark.parametrize("api", full_answers())
def test_a_whole_answer_may_have_any_members(api, step):
    answer, codec = full_answers()[api], CODECS[api]

    def translate(body: bytes, client: str) -> None:
        codec.read_answer(body, texts=False, checked=False)
        events = codec.read_answer(body)
        CODECS[client].write_answer(fold(events), reply_for(client))

    faults = {
        name: error
        for name, value, client in changes_of(answer, [(), *places(answer)], step)
        if (error := error_of(lambda value=value, client=client: translate(json.dumps(value).encode(), client)))
    }
    assert faults == {}


@each_step
@pytest.mark.parametrize("api", STREAMED)
def test_an_event_may_have_any_members(api, step):
    events = full_stream(api)

    def translate(data: bytes, client: str) -> None:
        lane = Translation(
            CODECS[api], CODECS[client].writer(reply_for(client)), CODECS[client].wire, lambda error: error, 2**22
        )
        lane.feed(data)
        lane.end()

    faults = {
        name: error
        for name, value, client in changes_of(events, places(events), step)
        if (error := error_of(lambda value=value, client=client: translate(stream_bytes(api, value), client)))
    }
    assert faults == {}


@each_step
@pytest.mark.parametrize("api", CODECS)
def test_a_request_may_have_any_members(api, step):
    """Values that are no objects are rejected earlier, as are halves of surrogate pairs."""
    codec, seen = CODECS[api], set[tuple[str, ...]]()

    def translate(body: bytes, provider: str) -> None:
        value = json.loads(body)
        codec.restore(value, RECIPIENT.issuer)
        codec.without_reasoning(value)
        with contextlib.suppress(GatewayError):
            codec.adapt(Draft.of(body), RECIPIENT)
        CODECS[provider].write_request(codec.read_request(value), RECIPIENT)

    faults = {}
    for number, sample in enumerate(samples(api)):
        if step > 1 and number % 11:  # the gate changes every eleventh sample
            continue
        patterns = {at: pattern_of(sample.with_field, at) for at in places(sample.with_field)}
        new = [at for at, pattern in patterns.items() if pattern not in seen]
        seen.update(patterns.values())
        for name, value, provider in changes_of(sample.with_field, new, step):
            body = json.dumps(value).replace(r"\ud800", "x").encode()
            if error := error_of(lambda body=body, provider=provider: translate(body, provider), 400):
                faults[name] = error
    assert faults == {}


def pattern_of(whole: Any, at: Place) -> tuple[str, ...]:
    """Return a place with the kinds of the objects on the way to it, and without numbers."""
    found: list[str] = []
    for step in at:
        kinds = [str(whole.get(name)) for name in ("type", "role")] if isinstance(whole, dict) else []
        found += [*kinds, "" if isinstance(step, int) else step]
        whole = whole[step]
    return tuple(found)
