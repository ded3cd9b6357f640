"""Rejections of system messages after the beginning of a conversation, in the words of servers, and the moved messages.

Ollama makes a message of each part of a list (maximhq/bifrost, `TestMultiBlockSystemToChatRequest`). The messages are
those of vLLM (`TestDetectMergeInlineSystem`), llama.cpp (ggml-org/llama.cpp#27367, SillyTavern/
SillyTavern#5276), Ollama (ollama/ollama#17774) and Rapid-MLX (raullenchai/Rapid-MLX#1543).
"""

import json

from providers.errors.failures import read_failure
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.system_place import move_system
from tests.support.each_row import each_row

LLAMA_CPP = (
    "\n------------\nWhile executing CallExpression at line 85, column 32 in source:\n"
    "...first %}↵            {{- raise_exception('System message must be at the beginnin...\n"
    "                                           ^\nError: Jinja Exception: System message must be at the beginning."
)
ALONE = (
    "System message must be at the beginning.",
    "system message must be at the beginning",
    "Chat template error: System message must be at the beginning.",
    LLAMA_CPP,
    f"Unable to generate parser for this template. Automatic parser generation failed: {LLAMA_CPP}",
    # MiniMax-AI/MiniMax-M2.7#43, openclaw/openclaw#19386
    "invalid params, chat content has invalid message role: system (2013)",
    "invalid params, invalid chat setting (2013)",
)
QUOTED = 'messages[3]: "System message must be at the beginning." is not allowed'


def read_error(message: str, status: int = 400):
    return read_failure(status, json.dumps({"error": {"code": status, "message": message}}).encode())


@each_row("status", [400, 500])
@each_row("message", ALONE)
def test_the_words_of_servers_are_known(message, status):
    error = read_error(message, status)
    assert (error.kind, error.status, error.reason) == ("invalid_request", 400, read_error("no", 400).reason)
    assert find_rejected(error) == ((":system",),)
    assert find_sole_rejected(error) == ((":system",),)


def test_a_quotation_is_not_remembered():
    assert (find_rejected(read_error(QUOTED)), find_sole_rejected(read_error(QUOTED))) == (((":system",),), ())


def test_other_errors_of_a_server_stay_its_own():
    assert read_error("out of memory", 500).kind == "upstream"
    assert read_error(ALONE[0], 503).status == 503


USER, ASSISTANT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}
SYSTEM = {"role": "system", "content": "a"}


def part(text: str, kind: str = "text") -> dict:
    return {"type": kind, "text": text}


@each_row(
    ("body", "moved"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [SYSTEM, {"role": "system", "content": [part("b"), part("c")]}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb\n\nc"}, USER]}),
        ({"messages": [USER, {"role": "system", "content": "late"}, ASSISTANT, USER]},
         {"messages": [USER, {"role": "user", "content": "<system>\nlate\n</system>"}, ASSISTANT, USER]}),
        ({"system": "s", "messages": [USER, {"role": "system", "content": [part("late")]}]},
         {"messages": [USER, {"role": "user", "content": [part("<system>\nlate\n</system>")]}]}),
        ({"instructions": "i", "input": [{"role": "developer", "content": [part("d", "input_text")]}, USER]},
         {"input": [{"role": "user", "content": [part("<system>\nd\n</system>", "input_text")]}, USER]}),
        ({"input": [SYSTEM, {"role": "system", "content": [part("b", "input_text")]}, USER]},
         {"input": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [{"role": "system", "content": "a"}, USER, ASSISTANT]}, {}),
        ({"messages": [{"role": "system", "content": [part("a"), part("b")]}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [USER]}, {}),
        ({"input": "hi", "instructions": "i"}, {}),
        ({"messages": [7, None, {"role": ["system"]}]}, {}),
        ({"messages": [USER, {"role": "system"}]}, {"messages": [USER, {"role": "user", "content": None}]}),
        ({}, {}),
    ],
)  # fmt: skip
def test_only_one_system_message_stays(body, moved):
    before = json.dumps(body)
    assert move_system(body) == moved
    assert json.dumps(body) == before
    assert move_system({**body, **moved}) == {}
