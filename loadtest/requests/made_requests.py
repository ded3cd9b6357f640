"""Requests of one kind with prompts that are made here, of the lengths that the kind, or a trace, says."""

import random
from functools import partial

import attrs

from loadtest.plan.load_request import LoadRequest
from loadtest.plan.traces import BLOCK
from loadtest.requests.bodies import Bodies
from loadtest.requests.calibration import Calibration
from loadtest.requests.images import NoiseImages
from loadtest.requests.setting import SourceSetting
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, SingleRequest
from loadtest.requests.texts import PromptTexts


@attrs.frozen
class PlannedPrompt:
    """What is drawn for a request: tokens of its own prompt and of its answer, the numbers of the shared texts that it
    begins with, and a seed for all else."""

    number: int
    tokens: int
    output: int
    seed: int
    prefix: int | None = None
    blocks: tuple[int, ...] = ()


class MadeRequests:
    """Requests of one kind with prompts that are made here."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        self._request = request
        self._setting = setting
        self._bodies = Bodies(request)
        self._texts = PromptTexts(setting.mark)
        self._calibration = Calibration()
        self._count = request.images.count if request.images else 0
        self._images = NoiseImages(*request.images.size) if request.images else None
        self._prefixed = 0  # sessions so far that are the first of their prefix

    def session(self, number: int, chance: random.Random) -> LoadSession:
        planned = self._planned(number, chance)
        return LazySession(lambda: SingleRequest(self._prepared(planned)))

    def words(self, tokens: int, chance: random.Random) -> str:
        """A text of about so many tokens, for whoever has a place for it."""
        size = self._calibration.characters(tokens)
        return self._texts.prompt(chance.getrandbits(64), size, chance)

    def _planned(self, number: int, chance: random.Random) -> PlannedPrompt:
        trace = self._setting.trace
        if trace is not None:
            row = trace.row(trace.first(number))
            return PlannedPrompt(number, row.input, row.output, chance.getrandbits(64), blocks=row.blocks)
        tokens, output = self._request.prompt.draw(chance), self._request.output.draw(chance)
        return PlannedPrompt(number, tokens, output, chance.getrandbits(64), self._prefix(chance))

    def _prefix(self, chance: random.Random) -> int | None:
        """The first requests go through all prefixes, so that the warm-up has sent each of them once."""
        shared = self._request.prefix
        if shared is None:
            return None
        draw = chance.random() / shared.share
        if self._prefixed < shared.texts:
            self._prefixed += 1
            return self._prefixed - 1
        return int(draw * shared.texts) if draw < 1 else None

    def _prepared(self, planned: PlannedPrompt) -> PreparedRequest:
        chance = random.Random(planned.seed)
        shared = self._request.prefix if planned.prefix is not None else None
        tokens = planned.tokens + (shared.tokens if shared else 0)
        prompt = self._prompt(planned, tokens, chance)
        images = [self._images.base64(chance) for _ in range(self._count)] if self._images else []
        learns = self._setting.learns and not images  # what an image counts for is not told apart
        size = len(prompt) * self._request.texts
        body = self._bodies.saying(prompt, planned.output, images)
        return PreparedRequest(
            self._request,
            body,
            asked_input=tokens * self._request.texts,
            asked_output=planned.output,
            characters=None if images else size,
            learn=partial(self._calibration.learn, size) if learns else None,
        )

    def _prompt(self, planned: PlannedPrompt, tokens: int, chance: random.Random) -> str:
        """The shared beginning, and behind it the text of its own, in so many tokens together."""
        size = self._calibration.characters(tokens)
        begin = self._begin(planned)
        own = self._texts.prompt(planned.number, size - len(begin), chance) if len(begin) < size else ""
        return begin[:size] + own

    def _begin(self, planned: PlannedPrompt) -> str:
        """What it has in common with others. A piece is as long in each of them: its length does not follow from what
        stands behind it."""
        if planned.blocks:
            each = self._calibration.piece(BLOCK)
            return " ".join(self._texts.shared(f"block {block}", each - 1) for block in planned.blocks)
        if planned.prefix is None or self._request.prefix is None:
            return ""
        return self._texts.shared(f"prefix {planned.prefix}", self._calibration.piece(self._request.prefix.tokens))
