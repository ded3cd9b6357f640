"""A gateway with the steps of ``word_steps``, in front of a provider of endpoints."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.support import word_steps
from tests.support.endpoint_provider import EndpointProvider, ScriptedAnswer, before, json_answer
from tests.support.in_process import InProcess


def step(**more: Any) -> dict[str, Any]:
    return {"use": "tests.support.word_steps:words", "name": "words", **more}


@contextlib.asynccontextmanager
async def gateway_with_steps(
    answer: Any, *steps: dict[str, Any], model: str = "openai/m-1", **more: Any
) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run it with ``steps``. ``answer`` is a function of the received request, or an answer, or its JSON."""
    scripted = answer if isinstance(answer, ScriptedAnswer) or callable(answer) else json_answer(answer)
    word_steps.seen.clear()
    answering = scripted if callable(scripted) else lambda asked: scripted
    async with before(answering, model, steps=list(steps), **more) as found:
        yield found
