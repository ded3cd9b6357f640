"""Answers of Converse, read by Amazon's SDK for Python, which may be missing."""

import json
from typing import Any

from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

MODEL = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def read_stream_with_sdk(body: bytes) -> list[Any]:
    """Read the stream with Amazon's SDK for Python, with an exception as its code and message."""
    shape = MODEL.operation_model("ConverseStream").output_shape.members["stream"]
    parser, buffer = create_parser("rest-json")._event_stream_parser, EventStreamBuffer()
    buffer.add_data(body)
    said = [(one.to_response_dict(), parser.parse(one.to_response_dict(), shape)) for one in buffer]
    return [parsed if head["status_code"] == 200 else parsed["Error"] for head, parsed in said]


def join_blocks(body: bytes) -> list[Any]:
    """Join the content blocks of a stream as in a whole answer."""
    found: dict[int, dict[str, Any]] = {}
    for one in read_stream_with_sdk(body):
        if begun := one.get("contentBlockStart"):
            found[begun["contentBlockIndex"]] = dict(begun["start"])
        elif piece := one.get("contentBlockDelta"):
            block = found.setdefault(piece["contentBlockIndex"], {})
            for kind, value in piece["delta"].items():
                if kind == "text":
                    block[kind] = block.get(kind, "") + value
                elif kind == "toolUse":
                    block[kind]["input"] = block[kind].get("input", "") + value["input"]
                elif kind == "toolResult":
                    block[kind]["content"] = value
                elif kind == "citation":
                    block.setdefault("citations", []).append(value)
                elif "redactedContent" in value:
                    block[kind] = value
                else:
                    reasoning = block.setdefault(kind, {"reasoningText": {}})["reasoningText"]
                    reasoning.update({name: reasoning.get(name, "") + part for name, part in value.items()})
    return [_complete_block(found[index]) for index in sorted(found)]


def _complete_block(block: dict[str, Any]) -> dict[str, Any]:
    if isinstance(call := block.get("toolUse"), dict):
        call["input"] = json.loads(call["input"])
    if "citations" in block:
        return {"citationsContent": {"content": [{"text": block["text"]}], "citations": block["citations"]}}
    if "reasoningText" in block.get("reasoningContent", {}):
        block["reasoningContent"]["reasoningText"].setdefault("text", "")
    return block
