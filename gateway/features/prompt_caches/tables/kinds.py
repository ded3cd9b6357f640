"""The kinds of content blocks, by their type or, in Gemini and Converse, by their member."""

from collections.abc import Mapping
from typing import Final

from streams.events import Api

TEXT, TOOL_USE, TOOL_RESULT, MEDIA, REASONING, COMPACTION, OTHER = range(7)

_NAMES: Final[Mapping[int, str]] = {
    TEXT: "text input_text output_text refusal message agent_message search_result searchResult user_input",
    TOOL_USE: (
        "function_call custom_tool_call computer_call local_shell_call shell_call apply_patch_call mcp_call "
        "web_search_call file_search_call code_interpreter_call image_generation_call tool_search_call "
        "tool_use server_tool_use mcp_tool_use functionCall toolUse google_search_call code_execution_call "
        "url_context_call"
    ),
    TOOL_RESULT: (
        "function_call_output custom_tool_call_output computer_call_output local_shell_call_output "
        "shell_call_output apply_patch_call_output tool_search_output tool_result mcp_tool_result "
        "web_search_tool_result web_fetch_tool_result code_execution_tool_result "
        "bash_code_execution_tool_result text_editor_code_execution_tool_result tool_search_tool_result "
        "functionResponse function_response toolResult function_result google_search_result "
        "code_execution_result url_context_result"
    ),
    MEDIA: (
        "image_url video_url audio_url input_image input_audio input_file file image document inlineData "
        "inline_data fileData file_data video audio"
    ),
    REASONING: "reasoning thinking redacted_thinking reasoningContent thought",
    COMPACTION: "compaction",
}

KINDS: Final[Mapping[str, int]] = {name: kind for kind, names in _NAMES.items() for name in names.split()}

WRAPPERS: Final[Mapping[Api, int]] = {"messages": len('{"type":"text","text":""}')}
WRAPPER: Final = len('{"text":""}')
"""Bytes of the JSON around a text, which does not identify a conversation: by API, and for all others."""
