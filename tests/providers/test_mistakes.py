"""Mistakes in clients' requests of each API: a 400 with the place in the client's spelling, before a provider is called
(openai/codex#41095)."""

from typing import Any

import pytest

from providers.apis import CODECS
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row

HI = {"role": "user", "content": "hi"}
ASKED = {"messages": [HI]}
WITHOUT_MISTAKE: dict[str, dict[str, Any]] = {
    "chat": {"model": "m"},
    "messages": {"model": "m", "max_tokens": 10, **ASKED},
    "responses": {"model": "m", "input": "hi"},
    "gemini": {},
    "converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    "interactions": {"model": "m", "input": "hi"},
}
"""The members of a request in addition to those of a row."""
MISTAKES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "chat": [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "god", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {}]}]},
         "messages[0].content[1].type"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages[0].content[0].video_url"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
         "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages[0].content[0].file"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "x"}]}]}, "messages[0].tool_calls[0].type"),
        ({**ASKED, "tools": [{"type": "function"}]}, "tools[0].name"),
        ({**ASKED, "tool_choice": "maybe"}, "tool_choice"),
        ({**ASKED, "tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({**ASKED, "max_tokens": "5"}, "max_tokens"),
        ({**ASKED, "stream": 1}, "stream"),
        ({**ASKED, "response_format": {"type": "xml"}}, "response_format.type"),
    ],
    "messages": [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "video"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "loud"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"stop_sequences": 7}, "stop_sequences"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"stream": "yes"}, "stream"),
    ],
    "responses": [
        ({"input": 3}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{}]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"temperature": "hot"}, "temperature"),
        ({"instructions": 1}, "instructions"),
    ],
    "gemini": [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}, "contents[0].role"),
        ({"contents": [{"role": "user", "parts": [{"functionResponse": {"response": {}}}]}]},
         "contents[0].parts[0].functionResponse.name"),
        # Without these the answer would be another one (google-genai 3.4).
        *(({"contents": "hi", name: "x"}, name) for name in (
            "cachedContent", "cached_content", "continuationToken", "continuation_token",
        )),
        ({"contents": "hi", "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
         "toolConfig.functionCallingConfig.mode"),
        ({"contents": "hi", "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
    ],
    "converse": [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": 1}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {}}}]}]},
         "messages[0].content[0].image.source"),
        ({"messages": [{"role": "assistant", "content": [{"toolUse": {"name": "f"}}]}]},
         "messages[0].content[0].toolUse.toolUseId"),
        ({"toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec.name"),
        ({"toolConfig": {"tools": [], "toolChoice": {"none": {}}}}, "toolConfig.toolChoice"),
        ({"inferenceConfig": {"maxTokens": "9"}}, "inferenceConfig.maxTokens"),
        ({"outputConfig": {"textFormat": {"type": "grammar"}}}, "outputConfig.textFormat.type"),
        ({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}}}},
         "outputConfig.textFormat.structure.jsonSchema.schema"),
        ({"additionalModelRequestFields": {"thinking": {"type": "deep"}}},
         "additionalModelRequestFields.thinking.type"),
    ],
    "interactions": [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"text": "hi"}]}, "input[0].type"),
        ({"input": {"type": "text"}}, "input.text"),
        ({"input": [{"type": "user_input", "content": [{"type": "image"}]}]}, "input[0].content[0].data"),
        # google/adk-python#4381
        ({"input": [{"type": "function_result", "result": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_result", "call_id": "", "result": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "user_input", "content": [{"type": "function_result", "result": "x"}]}]},
         "input[0].content[0].call_id"),
        ({"input": [{"type": "function_call", "id": "a", "arguments": {}}]}, "input[0].name"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"generation_config": {"tool_choice": "some"}}, "generation_config.tool_choice"),
        ({"generation_config": {"tool_choice": {"allowed_tools": {"mode": "some"}}}},
         "generation_config.tool_choice.allowed_tools.mode"),
        ({"generation_config": {"temperature": "hot"}}, "generation_config.temperature"),
        ({"response_format": {"type": "image"}}, "response_format.type"),
        ({"response_format": [{"type": "text"}, {"type": "audio"}]}, "response_format[1].type"),
        ({"response_modalities": ["image"]}, "response_modalities[0]"),
        *(({name: value}, name) for name, value in (
            ("agent", "deep-research"), ("environment", "e"), ("webhook_config", {}), ("continuation_token", "t"),
        )),
    ],
}  # fmt: skip


@each_row("api", CODECS)
def test_a_mistake_is_a_400_with_its_path(api):
    for members, param in MISTAKES[api]:
        with case(members):
            with pytest.raises(GatewayError) as caught:
                CODECS[api].read_request(WITHOUT_MISTAKE[api] | members)
            assert (caught.value.info.status, caught.value.info.param) == (400, param)
            assert param in caught.value.info.message
