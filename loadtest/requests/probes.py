"""Requests of one token beside a load: how long the server takes for as little as can be asked of it."""

import random

import attrs

from loadtest.plan.lengths import exactly
from loadtest.plan.load_request import NO_OBJECTIVES, NO_THINKING, NONE, ONE, ONE_TURN, LoadRequest
from loadtest.requests.made_requests import MadeRequests
from loadtest.requests.setting import SourceSetting
from loadtest.requests.sources import PreparedRequest

PROBE = "probe"


class Probes:
    """Small requests of the kind of ``request``, in its API and of its model."""

    def __init__(self, request: LoadRequest, setting: SourceSetting) -> None:
        small = attrs.evolve(
            request, name=PROBE, prompt=exactly(1), output=exactly(1), exact=False, prefix=None, images=None,
            tools=NONE, requests=None, cancel=None, slow=None, turns=ONE_TURN, think=NO_THINKING, slo=NO_OBJECTIVES,
            texts=ONE,
        )  # fmt: skip
        self._source = MadeRequests(small, attrs.evolve(setting, trace=None, learns=False))
        self._chance = random.Random(f"{setting.seed} probes")
        self._number = 0

    def next(self) -> PreparedRequest:
        self._number += 1
        found = self._source.session(self._number, self._chance).turn(None)
        assert found is not None
        return found
