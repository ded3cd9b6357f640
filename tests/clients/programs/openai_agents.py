"""The OpenAI Agents SDK."""

import asyncio
from typing import Any

import agents
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from talk import AGAIN, BASE, KEY, MODEL, PLEASE, STREAM, VARIANT, look_into, report

agents.set_tracing_disabled(True)


async def turn(agent: agents.Agent, given: Any) -> Any:
    if not STREAM:
        return await agents.Runner.run(agent, given)
    result = agents.Runner.run_streamed(agent, given)
    deltas = 0
    async for event in result.stream_events():
        deltas += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    assert deltas > 1
    return result


async def main() -> None:
    client = AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=60)
    kind = agents.OpenAIResponsesModel if VARIANT == "responses" else agents.OpenAIChatCompletionsModel
    agent = agents.Agent(
        name="Assistant", instructions="Be brief.", tools=[agents.function_tool(look_into)],
        model=kind(model=MODEL, openai_client=client),
        model_settings=agents.ModelSettings(reasoning=Reasoning(effort="medium", summary="auto")),
    )  # fmt: skip
    first = await turn(agent, PLEASE)
    second = await turn(agent, [*first.to_input_list(), {"role": "user", "content": AGAIN}])
    thoughts = sum(item.type == "reasoning_item" for run in (first, second) for item in run.new_items)
    report(first.final_output, second.final_output, thoughts)


asyncio.run(main())
