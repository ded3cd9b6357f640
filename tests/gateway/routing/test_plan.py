"""Policies as tables: the outcomes so far, and the step that comes next."""

import attrs

from gateway.config_files.loading import from_mapping
from gateway.routing.fallback import MOST, fall_back
from gateway.routing.plan import Candidate, GiveUp, Outcome, Plan, Policy, Send, Stage, send_once
from gateway.routing.router import Router
from gateway.routing.target import Omissions
from streams.events import ErrorInfo
from tests.support.each_row import each_row
from tests.support.moment import Moment

CONFIG = {
    "version": "v0.3.0",
    "model_providers": [{"model": f"openai/{name}", "access_key": "k"} for name in ("first", "second")],
}
ROUTER = Router(from_mapping(CONFIG))
FIRST, SECOND = (ROUTER.resolve(name, "chat") for name in ("first", "second"))

REFUSED = ErrorInfo("invalid_request", "Unsupported parameter: user", status=400)
DOWN = ErrorInfo("overloaded", "try later", status=503)
LOSSY = ErrorInfo("invalid_request", "strict mode: openai/first cannot be given seed")

USER, SEED = ("user",), ("seed",)
WITHOUT_USER = Omissions(paths=(USER,))
WITHOUT_BOTH = Omissions(paths=(USER, SEED))
REASONING = Omissions(reasoning=True)

CONDITIONS = Moment()


def fail(failure: ErrorInfo = REFUSED, **fields: object) -> Outcome:
    return Outcome(FIRST, failure, **fields)  # type: ignore[arg-type]


def step(policy: Policy, *outcomes: Outcome) -> object:
    return policy(Plan((Candidate(FIRST), Candidate(SECOND)), send_once), outcomes, CONDITIONS)


UNSENT = fail(LOSSY, stage=Stage.PREPARING, omissions=WITHOUT_USER)


@each_row(
    ("outcomes", "expected"),
    [
        ((), Send(FIRST)),
        ((fail(DOWN),), GiveUp(DOWN)),
        ((fail(REFUSED), fail(DOWN)), GiveUp(DOWN)),
        ((fail(DOWN, stage=Stage.ANSWERING),), GiveUp(DOWN)),
        ((fail(LOSSY, stage=Stage.PREPARING),), GiveUp(LOSSY)),
        ((fail(REFUSED), UNSENT), GiveUp(REFUSED)),
        ((fail(LOSSY, stage=Stage.PREPARING), fail(DOWN), UNSENT), GiveUp(DOWN)),
    ],
    ids=["begins", "fails", "fails-again", "broke-off", "unsent", "second-unsent", "all-kinds"],
)
def test_once_sends_once_and_gives_up_with_the_providers_error(outcomes, expected):
    assert step(send_once, *outcomes) == expected


@each_row(
    ("outcomes", "expected"),
    [
        ((), Send(FIRST)),
        ((fail(DOWN),), GiveUp(DOWN)),
        ((fail(refused=WITHOUT_USER),), Send(FIRST, WITHOUT_USER)),
        (
            (fail(refused=WITHOUT_USER), fail(omissions=WITHOUT_USER, refused=Omissions(paths=(SEED,)))),
            Send(FIRST, WITHOUT_BOTH),
        ),
        ((fail(refused=WITHOUT_USER), fail(DOWN, omissions=WITHOUT_USER)), GiveUp(REFUSED)),
        ((fail(refused=REASONING),), Send(FIRST, REASONING)),
        ((fail(refused=Omissions(True, (USER,))),), Send(FIRST, REASONING)),
        ((fail(omissions=REASONING, refused=WITHOUT_USER),), Send(FIRST, Omissions(True, (USER,)))),
        ((fail(refused=WITHOUT_USER), UNSENT), Send(SECOND)),
    ],
    ids=["begins", "down", "named", "named-next", "then-down", "reasoning", "reasoning-first", "then-named", "unsent"],
)
def test_a_rejected_request_is_sent_again_without_the_rejected_part(outcomes, expected):
    assert step(fall_back, *outcomes) == expected


def test_attempts_with_omissions_are_limited():
    refused = [fail(refused=Omissions(paths=((f"member{number}",),))) for number in range(MOST + 1)]
    assert isinstance(step(fall_back, *refused[:MOST]), Send)
    assert isinstance(step(fall_back, *refused), GiveUp)


def test_attempts_at_one_target_do_not_count_for_another():
    others = [attrs.evolve(fail(refused=WITHOUT_USER), target=SECOND) for _ in range(MOST + 1)]
    assert step(fall_back, *others, fail(refused=WITHOUT_USER)) == Send(FIRST, WITHOUT_USER)
