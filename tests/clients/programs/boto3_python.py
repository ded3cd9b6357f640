"""Amazon's SDK for Python: a loop over Converse, as in Amazon's own examples.

It sends Bedrock API keys only over TLS. Instead, it signs requests with credentials that no server checks.
"""

import json
from typing import Any

import boto3
from talk import AGAIN, MODEL, PLEASE, ROOT, SCHEMA, STREAM, look_into, report

bedrock = boto3.client(
    "bedrock-runtime", endpoint_url=ROOT, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
)
TOOL = {"toolSpec": {"name": "look_into", "description": "Look into a box", "inputSchema": {"json": SCHEMA}}}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
thoughts = 0


def read_stream(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the message that the events of a stream form, and its stop reason."""
    blocks: dict[int, dict[str, Any]] = {}
    stop, counted = "", {}
    for event in bedrock.converse_stream(**asked)["stream"]:
        if begun := event.get("contentBlockStart"):
            blocks[begun["contentBlockIndex"]] = {"toolUse": {**begun["start"]["toolUse"], "input": ""}}
        elif piece := event.get("contentBlockDelta"):
            block = blocks.setdefault(piece["contentBlockIndex"], {})
            ((kind, value),) = piece["delta"].items()
            if kind == "text":
                block["text"] = block.get("text", "") + value
            elif kind == "toolUse":
                block["toolUse"]["input"] += value["input"]
            elif "redactedContent" in value:
                block["reasoningContent"] = value
            else:
                said = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
                said.update({name: said.get(name, "") + part for name, part in value.items()})
        stop = event.get("messageStop", {}).get("stopReason", stop)
        counted = event.get("metadata", {}).get("usage", counted)
    assert counted["totalTokens"] > 0
    content = [blocks[index] for index in sorted(blocks)]
    for block in content:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {"role": "assistant", "content": content}, stop


def whole(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    answer = bedrock.converse(**asked)
    assert answer["usage"]["totalTokens"] > 0
    return answer["output"]["message"], answer["stopReason"]


def turn(talked: list[Any]) -> str:
    """Return the final answer after all calls of tools; ``talked`` gets the messages."""
    global thoughts
    while True:
        asked = {
            "modelId": MODEL, "messages": talked, "system": [{"text": "Be brief."}],
            "inferenceConfig": {"maxTokens": 4000}, "toolConfig": {"tools": [TOOL]},
            "additionalModelRequestFields": THINKING,
        }  # fmt: skip
        message, stop = read_stream(asked) if STREAM else whole(asked)
        talked.append(message)
        thoughts += sum("reasoningContent" in block for block in message["content"])
        calls = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        assert bool(calls) == (stop == "tool_use"), stop
        if not calls:
            return "".join(block.get("text", "") for block in message["content"])
        results = [
            {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": look_into(**call["input"])}]}}
            for call in calls
        ]
        talked.append({"role": "user", "content": results})


talked: list[Any] = [{"role": "user", "content": [{"text": PLEASE}]}]
first = turn(talked)
talked.append({"role": "user", "content": [{"text": AGAIN}]})
report(first, turn(talked), thoughts)
