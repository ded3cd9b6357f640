"""Requests of one kind from a file: in its order or shuffled, and from the beginning again behind its end."""

import functools
import random
from array import array

import attrs

from loadtest.plan.load_endpoints import wire_of
from loadtest.plan.load_request import LoadRequest
from loadtest.requests.bodies import spoken_body
from loadtest.requests.calibration import TOKENS
from loadtest.requests.conversation import UserTurn, conversation_of, split_turns
from loadtest.requests.file_requests import FileRequest, WholeBody, spoken_as, with_model
from loadtest.requests.request_file import request_file
from loadtest.requests.setting import SourceSetting
from loadtest.requests.sources import LazySession, LoadSession, PreparedRequest, SingleRequest
from loadtest.requests.texts import PromptTexts


class FileRequests:
    """Requests of one kind from its file. What stands in them stays to the letter, without a mark."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        self._request = request
        self._file = request_file(str(request.requests), request.api)
        self._seed = setting.seed
        self._texts = PromptTexts(setting.mark)
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def session(self, number: int, chance: random.Random) -> LoadSession:
        output, seed = self._request.output.draw(chance), chance.getrandbits(32)
        return LazySession(lambda: self._begun(number, output, random.Random(seed)))

    def _begun(self, number: int, output: int, chance: random.Random) -> LoadSession:
        """One request, or the conversation of which the file has one side."""
        found = self._file.request(self._place(number))
        opening = self._prepared(found, output)
        if isinstance(found, WholeBody):
            return SingleRequest(opening)
        following = [UserTurn(text) for text in found.said]
        if not following:
            body, recorded = split_turns(opening.request.api, opening.body)
            opening, following = attrs.evolve(opening, body=body), [*recorded]
        return conversation_of(opening, following, self._words, chance) if following else SingleRequest(opening)

    def _words(self, tokens: int, chance: random.Random) -> str:
        return self._texts.prompt(chance.getrandbits(32), tokens * TOKENS, chance)

    def _place(self, number: int) -> int:
        again, place = divmod(number, len(self._file))
        return place if self._request.order == "file" else self._order(again)[place]

    def _shuffled(self, again: int) -> "array[int]":
        """Another order in each round."""
        found = array("Q", range(len(self._file)))
        random.Random(f"{self._seed} order {again}").shuffle(found)
        return found

    def _prepared(self, found: FileRequest, output: int) -> PreparedRequest:
        if not isinstance(found, WholeBody):
            output = found.output or output
            body = spoken_body(self._request, found.messages, found.tools, output)
            return PreparedRequest(attrs.evolve(self._request, output=output), body, asked_output=output)
        kind = spoken_as(self._request, found)
        named = bool(kind.model) and wire_of(kind.api).model_member is not None
        body = with_model(found.body, kind.model) if named else found.body
        return PreparedRequest(kind, body, asked_output=found.output)
