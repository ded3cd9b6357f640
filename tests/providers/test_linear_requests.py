"""Work on requests is linear in their bytes (CWE-407): reading, writing in all APIs, and edits."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from providers.apis import CODECS
from providers.errors.member_paths import parse_path, remove_path
from providers.neutral.codec import Recipient, Reply
from providers.neutral.draft import Draft
from providers.neutral.hints import losses
from providers.neutral.quirks import Quirks
from providers.neutral.tokens import estimate
from providers.neutral.tool_names import shorten_names
from streams.errors import GatewayError
from streams.events import AnswerEnd
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.growing_requests import BODIES, ISSUER, REQUESTS
from tests.support.growth import assert_steps_grow_linearly
from tests.support.spread import spread

ROWS = [(api, shape) for api, shapes in REQUESTS.items() for shape in shapes]

PLAIN = Recipient("m", ISSUER)
ODD = Quirks(
    max_tokens_field="max_tokens", developer_role=False, stream_usage=False, reasoning_replay="every_message",
    adaptive_thinking=True, sampling="never", forced_tools=False, structured_output=False, cache_breakpoints=True,
    billing_line=False, deferred_tools="found", efforts=("low",),
    schemas="subset", mixed_tools=False, media_in_results=False, signed_calls=True, thinking_control="budget",
)  # fmt: skip
RECIPIENTS = (PLAIN, Recipient("m", ISSUER, ODD, ODD, counts_usage=True))
REJECTED = tuple(
    map(parse_path, ("messages[].content[].cache_control", "tools[].strict", "input[].content[].annotations"))
)


Target = tuple[str, Recipient]


def kind_of(row: tuple[int, tuple[str, str]]) -> object:
    """Return the same value for rows of one schema, which differ for readers only, and for two other rows."""
    number, (_, shape) = row
    return shape.partition(" in ")[0] if " in " in shape else number // 2


def translated_rows() -> Iterator[tuple[str, str, Sequence[Target]]]:
    """Yield each row with recipients."""
    for (number, (api, shape)), targets in spread([*enumerate(ROWS)], kind_of, [*CODECS]):
        yield api, shape, [(target, RECIPIENTS[(number + i) % 2]) for i, target in enumerate(targets)]


TRANSLATED = [*translated_rows()]


def translate_request(api: str, shape: str, targets: Sequence[Target], n: int) -> Callable[[], None]:
    """Read a request, write it for ``targets``, and begin its answer."""
    body = REQUESTS[api][shape](n)

    def work() -> None:
        try:
            request = CODECS[api].read_request(body)
        except GatewayError:
            return
        estimate(request, 4.0)
        for target, recipient in targets:
            changed, _ = shorten_names(request, CODECS[target].wire.tool_naming)
            try:
                outgoing = CODECS[target].write_request(changed, recipient)
            except GatewayError:
                continue
            losses(outgoing.dropped)
            assert isinstance(outgoing.adapted, tuple)
        CODECS[api].writer(Reply(request, ISSUER, 5)).send(AnswerEnd("stop"))

    return work


def edit_request(api: str, shape: str, n: int) -> Callable[[], None]:
    """Edit a client's own request for a provider of the same API."""
    body = msgspec.json.encode(REQUESTS[api][shape](n))

    def work() -> None:
        codec = CODECS[api]
        for recipient in RECIPIENTS:
            draft = Draft.of(body)
            draft.replace(*codec.restore(draft.values(), ISSUER), "seal")
            draft.replace(*codec.without_reasoning(draft.values()), "rejected")
            for path in REJECTED:
                value, lost = remove_path(draft.values(), path)
                draft.replace(value if lost else {}, sorted(lost))
            codec.adapt(draft, recipient)
            draft.encode()

    return work


def test_every_api_has_rows():
    assert REQUESTS.keys() == CODECS.keys()


def test_every_request_is_read():
    for api, shape in ROWS:
        with case((api, shape)):
            if (api, shape) != ("responses", ".input[6]"):  # outputs of calls that the request lacks
                CODECS[api].read_request(REQUESTS[api][shape](2))


def test_every_request_is_written_for_every_api():
    for api, body in BODIES.items():
        request = CODECS[api].read_request(body)
        for target, recipient in itertools.product(CODECS.values(), RECIPIENTS):
            with case((api, target)):
                target.write_request(shorten_names(request, target.wire.tool_naming)[0], recipient)


@pytest.mark.slow
@each_row("api, shape, targets", TRANSLATED, ids=ROWS, every=4)
def test_translating_takes_linear_steps(api, shape, targets):
    assert_steps_grow_linearly(lambda n: translate_request(api, shape, targets, n))


@pytest.mark.slow
@each_row("api, shape", ROWS, every=4)
def test_editing_takes_linear_steps(api, shape):
    assert_steps_grow_linearly(lambda n: edit_request(api, shape, n))
