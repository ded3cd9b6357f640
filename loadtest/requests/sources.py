"""The sources of requests: made prompts that meet no cache, or the bodies of a JSONL file.

The first answers calibrate the characters per token, because models count differently and their tokenizers are often
unavailable.
"""

import functools
import random
import secrets
from collections.abc import Callable, Iterator
from functools import partial
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

TOKEN: Final = 4  # characters, before the calibration
ANSWERS: Final = 20  # answers used for the calibration
LEAST, MOST = 1.0, 12.0  # plausible characters per token; other counts are ignored
SHOWN: Final = 5  # lines with mistakes that are listed


@attrs.frozen
class PreparedRequest:
    """A request to send. ``asked_input`` is the requested length of its prompt in tokens, if known, and ``learn``
    receives the server's count."""

    body: bytes
    stream: bool
    asked_input: int | None = None
    learn: Callable[[int], None] | None = None


class Calibration:
    """The characters of a token at one server, by the first 20 answers.

    Later answers do not count, so that all later prompts follow one rule. Implausible counts, such as a constant, are
    ignored, because prompts would grow without end.
    """

    def __init__(self) -> None:
        self._answers = 0
        self._characters, self._tokens = TOKEN, 1

    def length(self, tokens: int) -> int:
        """Return the characters of a prompt with ``tokens`` tokens."""
        return max(1, round(tokens * self._characters / self._tokens))

    def add_count(self, characters: int, tokens: int) -> None:
        """Use an answer that counted ``tokens`` for a prompt of ``characters``."""
        if self._answers >= ANSWERS or tokens <= 0 or not LEAST <= characters / tokens <= MOST:
            return
        if not self._answers:
            self._characters = self._tokens = 0
        self._answers += 1
        self._characters += characters
        self._tokens += tokens


_VOCABULARY: Final = """
about above across after again almost along always among another answer around away back because become before begin
behind below between both bring build carry case change city clear close cold common country course cover dark deep door
draw during early earth east enough even every example face fact fall far farm feel field find fire first follow food
form free friend full garden give good grass great green ground group grow half hand hard head hear heat help here high
hold home hot hour house idea island keep kind king land large late learn leave letter life light line listen little
live long look machine make many map mark mean measure might mile mind minute money month moon morning mother mountain
move music name near need never new night north note notice number ocean often old once open order other over own page
paper part pass pattern people piece place plain plant play point power problem question quick rain reach read real red
rest river road rock room round rule sand school science sea second sentence serve seven shape ship short show side
simple sleep slow small snow song soon sound south space stand star start state stay step stone story street strong
study summer sun sure surface table take talk teach thing think thousand three through time town travel tree true turn
under until upon usual valley voice walk warm watch water week weight west wheel while white whole wide wind window
winter wonder wood word work world write year yellow young
"""
_WORDS: Final = 20_000  # in the text from which all prompts are cut


@functools.cache
def _text_pool() -> str:
    return " ".join(random.Random("words").choices(_VOCABULARY.split(), k=_WORDS)) + " "


class MadePrompts:
    """A source of made prompts. Each begins with a unique mark, so that it meets no prompt cache."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._bodies = Bodies(plan)
        self._calibration = Calibration()
        self._mark = secrets.token_hex(8)
        _text_pool()  # created before the load, because it would delay the first request

    def prepare(self, number: int, rng: random.Random) -> PreparedRequest:
        tokens, output = self._plan.prompt.draw(rng), self._plan.output.draw(rng)
        prompt = self._make_prompt(number, self._calibration.length(tokens), rng.random())
        body = self._bodies.make_body(prompt, output)
        return PreparedRequest(body, self._plan.stream, tokens, partial(self._calibration.add_count, len(prompt)))

    def _make_prompt(self, number: int, size: int, place: float) -> str:
        """Return the mark, and words from the relative position ``place`` of the pool: ``size`` characters, if the mark
        is not longer."""
        mark = f"{blake2b(f'{self._mark} {number}'.encode(), digest_size=5).hexdigest()}: "
        pool = _text_pool()
        start = pool.index(" ", int(place * (len(pool) - 1))) + 1
        rest = max(0, size - len(mark))
        return mark + (pool[start:] + pool * (rest // len(pool) + 1))[:rest]


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
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        why = f"{path} cannot be read: {(error.strerror or 'unreadable').lower()}"
        raise Wrong(why, "give a JSONL file of bodies") from None
    mistakes: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _read_body(line, plan)
            except Wrong as error:
                mistakes.append(f"line {number}: {error.found}")
    if mistakes:
        more = f" and {len(mistakes) - SHOWN} more lines" if len(mistakes) > SHOWN else ""
        raise Wrong(f"{path}: {'; '.join(mistakes[:SHOWN])}{more}", f"give one body of {plan.api} in each line")
    if not any(map(bytes.strip, lines)):
        raise Wrong(f"{path} has no bodies", f"give one body of {plan.api} in each line")


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
