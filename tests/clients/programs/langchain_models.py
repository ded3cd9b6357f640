"""LangChain's models for OpenAI, Anthropic, Google and Bedrock."""

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from talk import AGAIN, BASE, KEY, MODEL, PLEASE, ROOT, STREAM, VARIANT, look_into, report

thinking = {"type": "enabled", "budget_tokens": 2000}
if VARIANT == "messages":
    model: Any = ChatAnthropic(
        model=MODEL, base_url=ROOT, api_key=KEY, max_tokens=4000, thinking=thinking, max_retries=0
    )
elif VARIANT == "gemini":
    model = ChatGoogleGenerativeAI(
        model=MODEL, base_url=ROOT, api_key=KEY, max_retries=1, include_thoughts=True, thinking_budget=2000
    )
elif VARIANT == "converse":
    model = ChatBedrockConverse(
        model=MODEL, provider="anthropic", endpoint_url=ROOT, region_name="us-east-1", aws_access_key_id="any",
        aws_secret_access_key="any", max_tokens=4000, disable_streaming=False,
        additional_model_request_fields={"thinking": thinking},
    )  # fmt: skip
else:
    own: dict[str, Any] = {"reasoning_effort": "medium"}
    if VARIANT == "responses":
        own = {"use_responses_api": True, "reasoning": {"effort": "medium", "summary": "auto"}}
    model = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, max_retries=0, stream_usage=True, **own)
bound = model.bind_tools([tool(look_into)])
thoughts = 0


def turn(talked: list[Any]) -> str:
    """Return the final answer after all calls of tools; ``talked`` gets the messages."""
    global thoughts
    while True:
        if STREAM:
            whole: Any = None
            for chunk in bound.stream(talked):
                assert isinstance(chunk, AIMessageChunk)
                whole = chunk if whole is None else whole + chunk
        else:
            whole = bound.invoke(talked)
        assert whole.usage_metadata["total_tokens"] > 0
        thoughts += sum(block["type"] == "reasoning" for block in whole.content_blocks)
        talked.append(whole)
        talked += [ToolMessage(look_into(**call["args"]), tool_call_id=call["id"]) for call in whole.tool_calls]
        if not whole.tool_calls:
            return str(whole.text)


talked: list[Any] = [SystemMessage("Be brief."), HumanMessage(PLEASE)]
first = turn(talked)
talked.append(HumanMessage(AGAIN))
report(first, turn(talked), thoughts)
