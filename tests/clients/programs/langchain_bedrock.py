"""LangChain's model for Bedrock."""

from typing import Any

from langchain_aws import ChatBedrockConverse
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from talk import AGAIN, MODEL, PLEASE, ROOT, STREAM, look_into, report

model = ChatBedrockConverse(
    model=MODEL, provider="anthropic", endpoint_url=ROOT, region_name="us-east-1", aws_access_key_id="any",
    aws_secret_access_key="any", max_tokens=4000, disable_streaming=False,
    additional_model_request_fields={"thinking": {"type": "enabled", "budget_tokens": 2000}},
)  # fmt: skip
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
