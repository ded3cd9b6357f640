"""Recorded traffic of Amazon Bedrock's Converse, and its content, parsed by hand.

The recordings are public test data of other projects, next to this repository (in ``../shared/corpus``, if present).
Each names its source and licence. This module does not use the gateway's readers.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from tests.support.recordings import CORPUS

FOLDER = CORPUS / "bedrock_converse"


@attrs.frozen
class ConverseRecording:
    """One exchange. ``blocks`` is its content as in a whole answer, assembled by hand for a stream."""

    name: str
    meta: Mapping[str, Any]
    request: Mapping[str, Any]
    body: bytes
    blocks: Sequence[Mapping[str, Any]]
    stop: str
    usage: Mapping[str, int]

    @property
    def is_streamed(self) -> bool:
        return bool(self.meta["stream"])


@cache
def converse_recordings() -> tuple[ConverseRecording, ...]:
    """Return all successful exchanges."""
    return tuple(_read_recording(file) for file in sorted(FOLDER.glob("*.meta.json")))


def _read_recording(file: Path) -> ConverseRecording:
    at = str(file).removesuffix(".meta.json")
    meta = json.loads(file.read_bytes())
    request = json.loads(Path(f"{at}.request.json").read_bytes())
    name = Path(at).name
    if not meta["stream"]:
        body = Path(f"{at}.response.json").read_bytes()
        answer = json.loads(body)
        blocks = answer["output"]["message"]["content"]
        return ConverseRecording(name, meta, request, body, blocks, answer["stopReason"], answer["usage"])
    body = Path(f"{at}.response.eventstream").read_bytes()
    lines = Path(f"{at}.response.events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [(one["headers"][":event-type"], one["payload"]) for one in map(json.loads, lines)]
    last = dict(events)
    return ConverseRecording(
        name,
        meta,
        request,
        body,
        _assemble_blocks(events),
        last["messageStop"]["stopReason"],
        last["metadata"]["usage"],
    )


def _assemble_blocks(events: Sequence[tuple[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the blocks of a stream. The citations of a text are a list."""
    blocks: dict[int, dict[str, Any]] = {}
    for name, value in events:
        if name == "contentBlockStart":
            blocks[value["contentBlockIndex"]] = {kind: dict(said) for kind, said in value["start"].items()}
        if name == "contentBlockDelta":
            _add_delta(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
    for block in blocks.values():
        if isinstance(text := block.get("toolUse", {}).get("input"), str):
            block["toolUse"]["input"] = json.loads(text or "{}")
    return [block for _, block in sorted(blocks.items())]


def _add_delta(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for kind, said in delta.items():
        match kind:
            case "text":
                block["text"] = block.get("text", "") + said
            case "citation":
                block.setdefault("citations", []).append(said)
            case "toolResult":
                block["toolResult"].setdefault("content", []).extend(said)
            case "toolUse":
                block["toolUse"]["input"] = block["toolUse"].get("input", "") + said["input"]
            case "reasoningContent":
                whole = block.setdefault("reasoningContent", {})
                for member in ("text", "signature"):
                    if member in said:
                        text = whole.setdefault("reasoningText", {})
                        text[member] = text.get(member, "") + said[member]
                if "redactedContent" in said:
                    whole["redactedContent"] = said["redactedContent"]
