"""The kinds of content blocks, by their type or, in Gemini and Converse, by their member."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.features.prompt_caches.prompt_blocks import BlockKind
from streams.events import Api

KINDS: Final[Mapping[str, BlockKind]] = MappingProxyType(
    {
        # Chat and Responses
        "text": "text", "input_text": "text", "output_text": "text", "refusal": "text", "message": "text",
        "agent_message": "text",
        "image_url": "media", "video_url": "media", "audio_url": "media", "input_image": "media",
        "input_audio": "media", "input_file": "media", "file": "media",
        "function_call": "tool_use", "custom_tool_call": "tool_use", "computer_call": "tool_use",
        "local_shell_call": "tool_use", "shell_call": "tool_use", "apply_patch_call": "tool_use",
        "mcp_call": "tool_use", "web_search_call": "tool_use", "file_search_call": "tool_use",
        "code_interpreter_call": "tool_use", "image_generation_call": "tool_use", "tool_search_call": "tool_use",
        "function_call_output": "tool_result", "custom_tool_call_output": "tool_result",
        "computer_call_output": "tool_result", "local_shell_call_output": "tool_result",
        "shell_call_output": "tool_result", "apply_patch_call_output": "tool_result",
        "tool_search_output": "tool_result", "reasoning": "reasoning", "compaction": "compaction",
        # Messages
        "image": "media", "document": "media", "search_result": "text", "thinking": "reasoning",
        "redacted_thinking": "reasoning", "tool_use": "tool_use", "server_tool_use": "tool_use",
        "mcp_tool_use": "tool_use", "tool_result": "tool_result", "mcp_tool_result": "tool_result",
        "web_search_tool_result": "tool_result", "web_fetch_tool_result": "tool_result",
        "code_execution_tool_result": "tool_result", "bash_code_execution_tool_result": "tool_result",
        "text_editor_code_execution_tool_result": "tool_result", "tool_search_tool_result": "tool_result",
        # Gemini
        "functionCall": "tool_use", "functionResponse": "tool_result",
        "function_response": "tool_result", "inlineData": "media", "inline_data": "media", "fileData": "media",
        "file_data": "media",
        # Converse
        "toolUse": "tool_use", "toolResult": "tool_result", "video": "media", "audio": "media",
        "reasoningContent": "reasoning", "searchResult": "text",
        # Interactions
        "user_input": "text", "thought": "reasoning", "function_result": "tool_result",
        "google_search_call": "tool_use", "google_search_result": "tool_result", "code_execution_call": "tool_use",
        "code_execution_result": "tool_result", "url_context_call": "tool_use", "url_context_result": "tool_result",
    }
)  # fmt: skip

WRAPPERS: Final[Mapping[Api, int]] = {"messages": len('{"type":"text","text":""}')}
WRAPPER: Final = len('{"text":""}')
"""Bytes of the JSON around a text, which does not identify a conversation: by API, and for all others."""
