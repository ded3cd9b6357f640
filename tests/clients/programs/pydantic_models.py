"""PydanticAI with each of its three models."""

import asyncio
from typing import Any

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.messages import PartDeltaEvent, TextPartDelta, ThinkingPart
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIChatModelSettings,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
)
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from talk import AGAIN, BASE, KEY, MODEL, PLEASE, ROOT, STREAM, VARIANT, look_into, report


def model() -> Any:
    if VARIANT == "messages":
        sdk = AsyncAnthropic(base_url=ROOT, api_key=KEY, max_retries=0, timeout=60)
        asked = AnthropicModelSettings(max_tokens=4000, anthropic_thinking={"type": "enabled", "budget_tokens": 2000})
        return AnthropicModel(MODEL, provider=AnthropicProvider(anthropic_client=sdk), settings=asked)
    client = AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=60)
    provider = OpenAIProvider(openai_client=client)
    if VARIANT == "chat":
        return OpenAIChatModel(
            MODEL, provider=provider, settings=OpenAIChatModelSettings(openai_reasoning_effort="medium")
        )
    reasoning = OpenAIResponsesModelSettings(openai_reasoning_effort="medium", openai_reasoning_summary="auto")
    return OpenAIResponsesModel(MODEL, provider=provider, settings=reasoning)


async def turn(agent: Any, said: str, history: Any) -> tuple[str, Any]:
    deltas = 0

    async def listen(_: Any, events: Any) -> None:
        nonlocal deltas
        async for event in events:
            deltas += isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta)

    # `run_stream` would return the text before the first call as the answer
    result = await agent.run(said, message_history=history, event_stream_handler=listen if STREAM else None)
    assert not STREAM or deltas > 1
    return result.output, result.all_messages()


async def main() -> None:
    agent = Agent(model(), instructions="Be brief.", tools=[look_into], retries=0)
    first, history = await turn(agent, PLEASE, None)
    second, history = await turn(agent, AGAIN, history)
    thoughts = sum(isinstance(part, ThinkingPart) for message in history for part in message.parts)
    report(first, second, thoughts)


asyncio.run(main())
