"""Generates requests with prompts and images, and the small probes next to a load.

Prompt lengths follow the kind of request or a trace. The first answers calibrate the characters per token, because
models count differently and their tokenizers are often unavailable.
"""

import functools
import random
import struct
import zlib
from binascii import b2a_base64
from functools import partial
from hashlib import blake2b
from typing import Final

import attrs

from loadtest.plan.lengths import constant_length
from loadtest.plan.load_request import NO_THINKING, ONE_TURN, LoadRequest
from loadtest.plan.traces import BLOCK
from loadtest.requests.bodies import Bodies
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, SingleRequest, SourceSetting

TOKENS: Final = 4  # characters per token before the calibration
ANSWERS: Final = 20  # answers used for the calibration
LEAST, MOST = 1.0, 12.0  # plausible characters per token; other counts are ignored
SPREAD: Final = 1.25  # ratio of the longest and the shortest prompt from which the common tokens can be estimated


class Calibration:
    """Calibrates the length of prompts for one kind of request at one server, starting with 4 characters a token.

    The tokens of a prompt are ``common`` ones (chat template, tools) plus a number per character. If all prompts have
    a similar length, the two cannot be separated and need not be.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._characters: list[int] = []
        self._tokens: list[int] = []
        self._rate = 1 / TOKENS
        self._common = 0.0

    def prompt_length(self, tokens: int) -> int:
        """Return the characters of a prompt with ``tokens`` tokens."""
        return max(1, round((tokens - self._common) / self._rate))

    def part_length(self, tokens: int) -> int:
        """Return the characters of a part of a prompt."""
        return max(1, round(tokens / self._rate))

    def add_count(self, characters: int, tokens: int) -> None:
        """Use an answer that counted ``tokens`` for a prompt of ``characters``.

        Only the first 20 answers count, so that all later prompts follow one rule. Implausible counts, such as a
        constant, are ignored, because prompts would grow without end.
        """
        if self.answers >= ANSWERS or tokens <= 0 or not LEAST <= characters / tokens <= MOST:
            return
        self.answers += 1
        self._characters.append(characters)
        self._tokens.append(tokens)
        self._rate, self._common = _fit_line(self._characters, self._tokens)


def _fit_line(characters: list[int], tokens: list[int]) -> tuple[float, float]:
    """Return the tokens per character and the common tokens, by least squares."""
    through = sum(tokens) / sum(characters), 0.0
    if max(characters) < SPREAD * min(characters):
        return through
    x, y = sum(characters) / len(characters), sum(tokens) / len(tokens)
    spread = sum((one - x) ** 2 for one in characters)
    rate = sum((one - x) * (other - y) for one, other in zip(characters, tokens, strict=True)) / spread
    common = y - rate * x
    return (rate, common) if LEAST <= 1 / max(rate, 1e-9) <= MOST and common >= 0 else through


_VOCABULARY: Final = """
a able about above across after again all almost along already also always among an and another answer any around as
ask at away back be because become before begin behind below between both bring build but by call can carry case cause
change city clear close cold come common could country course cover cut dark day deep did different do door down draw
dry during each early earth ease east eat end enough even ever every example eye face fact fall far farm fast feel few
field find fire first five fly follow food for form four free from full game garden gave get give go good great green
ground group grow had half hand hard have he head hear heat help her here high hold home hot hour house how idea if in
inch into island it just keep kind king know land large last late learn leave left less let letter life light like line
list listen little live long look low machine made make man many map mark may mean measure men might mile mind minute
more morning most mother mountain move much must name near need never new next night no north note nothing notice now
number of off often old on once one only open or order other our out over own page paper part pass pattern people
picture piece place plain plan plant play point port possible power press problem question quick rain ran reach read
ready real record red rest right river road rock room round rule run said same sand saw say school science sea second
see seem self sentence serve set seven several shape she ship short should show side simple since sing six size sleep
slow small snow so some song soon sound south space speak special spell stand star start state stay step still stop
story street strong study such sun sure surface table take talk teach tell ten test than that the their them then there
these they thing think this those though thought thousand three through time to together too took top toward town trade
travel tree true try turn two under unit until up upon use usual very voice vowel wait walk want war warm was watch
water way we week weight well went were west what wheel when where which while white who whole why will wind with
without wonder wood word work world would write year yes yet you young your
"""
_WORDS: Final = 20_000  # in the text from which all others are cut


@functools.cache
def _text_pool() -> str:
    return " ".join(random.Random("words").choices(_VOCABULARY.split(), k=_WORDS)) + " "


class PromptTexts:
    """The texts of one run on one target. The same ``mark`` yields the same texts."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        _text_pool()  # created before the load, because it would delay the first request

    def prompt(self, number: int, size: int, rng: random.Random) -> str:
        """Return a text of ``size`` characters, or of the mark if that is longer, for the request ``number``."""
        return self._text_from_pool(f"request {number}", size, rng.random())

    def shared(self, name: str, size: int) -> str:
        """Return the shared text ``name``, always the same except for its length."""
        return self._text_from_pool(name, size, random.Random(name).random())

    def _text_from_pool(self, name: str, size: int, place: float) -> str:
        begin = f"{blake2b(f'{self._mark} {name}'.encode(), digest_size=5).hexdigest()}: "
        return begin + _pool_text(place, size - len(begin))


def _pool_text(place: float, size: int) -> str:
    """Return ``size`` characters of the pool, from a word at the relative position ``place``."""
    pool = _text_pool()
    start = pool.index(" ", int(place * (len(pool) - 1))) + 1
    if start + size <= len(pool):
        return pool[start : start + max(0, size)]
    return (pool[start:] + pool * (size // len(pool) + 1))[:size]


_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = 2  # the colour type
_CHANNELS: Final = 3


class NoiseImages:
    """Random images of ``width`` by ``height`` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._first = width * _CHANNELS
        noise = random.Random("noise")
        # Each row begins with the number of its filter; 0 is none (https://www.w3.org/TR/png-3/#9Filters).
        self._rest = b"".join(b"\0" + noise.randbytes(self._first) for _ in range(height - 1))
        header = struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)
        self._before = _SIGNATURE + _png_chunk(b"IHDR", header)
        self._after = _png_chunk(b"IEND", b"")

    def png(self, rng: random.Random) -> bytes:
        """Return the next image as PNG."""
        rows = b"".join((b"\0", rng.randbytes(self._first), self._rest))
        return b"".join((self._before, _png_chunk(b"IDAT", zlib.compress(rows, 0)), self._after))

    def base64(self, rng: random.Random) -> bytes:
        """Return the next image in base64."""
        return b2a_base64(self.png(rng), newline=False)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))))


@attrs.frozen
class PlannedPrompt:
    """The random values of a request: tokens of prompt and answer, its shared prefix or blocks, and a seed for the
    rest."""

    number: int
    tokens: int
    output: int
    seed: int
    prefix: int | None = None
    blocks: tuple[int, ...] = ()


class MadeRequests:
    """A source of requests with generated prompts."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        self._request = request
        self._setting = setting
        self._bodies = Bodies(request)
        self._texts = PromptTexts(setting.mark)
        self._calibration = Calibration()
        self._count = request.images.count if request.images else 0
        self._images = NoiseImages(*request.images.size) if request.images else None
        self._prefixed = 0  # sessions so far, each with another prefix

    def session(self, number: int, rng: random.Random) -> LoadSession:
        planned = self._draw_prompt(number, rng)
        return LazySession(lambda: SingleRequest(self._prepare(planned)))

    def words(self, tokens: int, rng: random.Random) -> str:
        """Return a text of about ``tokens`` tokens."""
        size = self._calibration.prompt_length(tokens)
        return self._texts.prompt(rng.getrandbits(64), size, rng)

    def _draw_prompt(self, number: int, rng: random.Random) -> PlannedPrompt:
        trace = self._setting.trace
        if trace is not None:
            row = trace.row(trace.row_of_arrival(number))
            return PlannedPrompt(number, row.input, row.output, rng.getrandbits(64), blocks=row.blocks)
        tokens, output = self._request.prompt.draw(rng), self._request.output.draw(rng)
        return PlannedPrompt(number, tokens, output, rng.getrandbits(64), self._draw_prefix(rng))

    def _draw_prefix(self, rng: random.Random) -> int | None:
        """Return the number of a shared prefix.

        The first requests use each prefix once, so that the warm-up sends all of them.
        """
        shared = self._request.prefix
        if shared is None:
            return None
        draw = rng.random() / shared.share
        if self._prefixed < shared.texts:
            self._prefixed += 1
            return self._prefixed - 1
        return int(draw * shared.texts) if draw < 1 else None

    def _prepare(self, planned: PlannedPrompt) -> PreparedRequest:
        rng = random.Random(planned.seed)
        shared = self._request.prefix if planned.prefix is not None else None
        tokens = planned.tokens + (shared.tokens if shared else 0)
        prompt = self._make_prompt(planned, tokens, rng)
        images = [self._images.base64(rng) for _ in range(self._count)] if self._images else []
        learns = self._setting.learns and not images  # tokens of images cannot be separated
        size = len(prompt) * self._request.texts
        body = self._bodies.make_body(prompt, planned.output, images)
        return PreparedRequest(
            self._request,
            body,
            asked_input=tokens * self._request.texts,
            asked_output=planned.output,
            characters=None if images else size,
            learn=partial(self._calibration.add_count, size) if learns else None,
        )

    def _make_prompt(self, planned: PlannedPrompt, tokens: int, rng: random.Random) -> str:
        """Return the shared text and the request's own text, with ``tokens`` tokens in all."""
        size = self._calibration.prompt_length(tokens)
        begin = self._shared_text(planned)
        own = self._texts.prompt(planned.number, size - len(begin), rng) if len(begin) < size else ""
        return begin[:size] + own

    def _shared_text(self, planned: PlannedPrompt) -> str:
        """Return the shared text. Its length is the same in all requests."""
        if planned.blocks:
            each = self._calibration.part_length(BLOCK)
            return " ".join(self._texts.shared(f"block {block}", each - 1) for block in planned.blocks)
        if planned.prefix is None or self._request.prefix is None:
            return ""
        return self._texts.shared(
            f"prefix {planned.prefix}", self._calibration.part_length(self._request.prefix.tokens)
        )


PROBE = "probe"


class Probes:
    """Small requests with the API and model of ``request``."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        small = attrs.evolve(
            request, name=PROBE, prompt=constant_length(1), output=constant_length(1), exact=False, prefix=None,
            images=None, tools=0, requests=None, cancel=None, slow=None, turns=ONE_TURN, think=NO_THINKING, slo=(),
            texts=1,
        )  # fmt: skip
        self._source = MadeRequests(small, attrs.evolve(setting, trace=None, learns=False))
        self._chance = random.Random(f"{setting.seed} probes")
        self._number = 0

    def next_probe(self) -> PreparedRequest:
        self._number += 1
        found = self._source.session(self._number, self._chance).turn(None)
        assert found is not None
        return found
