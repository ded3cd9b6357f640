"""The sources of requests: made prompts that meet no cache, or the bodies of a JSONL file."""

import functools
import random
import secrets
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from configfile.wording import Wrong
from loadtest.plan.plan import LoadPlan
from loadtest.requests.bodies import Bodies
from providers.apis import CODECS
from streams.surrogates import NOT_JSON, describe_json_error

MARK: Final = 8
"""The tokens of the mark at the begin of a prompt, about."""

# Each of these words, with the space before it, is one token of all common models.
_VOCABULARY: Final = """
about above after again almost along always among another answer around away back because become before begin behind
below between both bring build carry case change city clear close cold common country course cover dark deep door early
earth east enough even every example face fact fall family far farm feel field find fire first follow food form free
friend full garden give good great green ground group half hand hard head hear heart help here high home hot hour house
"""
_WORDS: Final = 20_000  # in the text from which all prompts are cut


@attrs.frozen
class PreparedRequest:
    """A request to send."""

    body: bytes
    stream: bool


@functools.cache
def _text_pool() -> list[str]:
    return random.Random("words").choices(_VOCABULARY.split(), k=_WORDS)


class MadePrompts:
    """A source of made prompts. Each begins with a unique mark, so that it meets no prompt cache."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._bodies = Bodies(plan)
        self._mark = secrets.token_hex(8)
        _text_pool()  # created before the load, because it would delay the first request

    def prepare(self, number: int, rng: random.Random) -> PreparedRequest:
        tokens, output = self._plan.prompt.draw(rng), self._plan.output.draw(rng)
        prompt = self._make_prompt(number, max(0, tokens - MARK), rng.randrange(_WORDS))
        return PreparedRequest(self._bodies.make_body(prompt, output), self._plan.stream)

    def _make_prompt(self, number: int, words: int, start: int) -> str:
        """Return the mark, and ``words`` from the position ``start`` of the pool."""
        mark = blake2b(f"{self._mark} {number}".encode(), digest_size=5).hexdigest()
        pool = _text_pool()
        found = [f"{mark}:", *pool[start : start + words]]
        while len(found) <= words:
            found += pool[: words + 1 - len(found)]
        return " ".join(found)


class FileBodies:
    """A source of bodies in the API of the plan, in the order of their file. After the last, the first follows again.

    They are sent unchanged except for the model of the plan, if it has one. Raises ``Wrong``.
    """

    def __init__(self, plan: LoadPlan) -> None:
        assert plan.requests is not None
        self._requests = list(_read_file(plan.requests, plan))

    def __len__(self) -> int:
        return len(self._requests)

    def prepare(self, number: int, rng: random.Random) -> PreparedRequest:
        return self._requests[number % len(self._requests)]


def _read_file(path: Path, plan: LoadPlan) -> Iterator[PreparedRequest]:
    expected = f"give one body of {plan.api} in each line"
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {(error.strerror or 'unreadable').lower()}", expected) from None
    if not any(map(bytes.strip, lines)):
        raise Wrong(f"{path} has no bodies", expected)
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _read_body(line, plan)
            except Wrong as error:
                raise Wrong(f"{path}: line {number}: {error.found}", expected) from None


def _read_body(line: bytes, plan: LoadPlan) -> PreparedRequest:
    wire = CODECS[plan.api].wire
    try:
        line.decode()  # the JSON decoder does not validate texts that are not decoded
        members: dict[str, Any] = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError as error:
        raise Wrong(f"this is not UTF-8 (byte {error.start + 1})", "") from None
    except msgspec.ValidationError:
        raise Wrong("this is not a JSON object", "") from None
    except NOT_JSON as error:
        raise Wrong(f"this is not JSON ({describe_json_error(error)})", "") from None
    if wire.conversation.member not in members:
        raise Wrong(f"{wire.conversation.member} is missing", "")
    if plan.model and wire.model_member is not None:
        members[wire.model_member] = plan.model
    elif wire.model_member is not None and wire.model_member not in members:
        raise Wrong("the model is missing: add --model MODEL", "")
    stream = plan.stream if wire.stream_member is None else bytes(members.get(wire.stream_member, b"")) == b"true"
    return PreparedRequest(msgspec.json.encode(members), stream)
